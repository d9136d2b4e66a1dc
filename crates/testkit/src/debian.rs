//! A small Debian, made by debootstrap from wherever this machine gets its packages.

use std::process::{Command, Stdio};

use crate::layer::{Layer, RawLayer};

/// The root file system of a minimal Debian as one layer, or why it cannot be made.
pub(crate) fn minbase() -> Result<RawLayer, String> {
    let (mirror, suite) = mirror()?;
    let dir = crate::world::temporary();
    let root = dir.path().join("debian");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &suite]).arg(&root).arg(&mirror).env("LC_ALL", "C");
    let output =
        debootstrap.stdin(Stdio::null()).output().map_err(|e| format!("debootstrap does not start: {e}"))?;
    if !output.status.success() {
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let last = text.lines().next_back().unwrap_or_default();
        return Err(format!("debootstrap failed: {last}"));
    }
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--numeric-owner",
        "--xattrs",
        "--sort=name",
        "--format=posix",
        "--exclude=./dev/*",
    ]);
    tar.args(["--exclude=./var/cache/apt/archives/*.deb", "--directory"]).arg(&root).arg(".");
    let output = tar.stderr(Stdio::inherit()).output().map_err(|e| format!("tar does not start: {e}"))?;
    if !output.status.success() {
        return Err("tar failed on the new Debian".to_owned());
    }
    Ok(Layer::from_tar(output.stdout))
}

/// The archive and the release that apt is configured with here, or why there are none.
pub fn mirror() -> Result<(String, String), String> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]);
    let output = apt.output().map_err(|e| format!("apt-get does not start: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    for words in lines {
        if let [uri, codename, release, "main"] = words.as_slice()
            && !release.contains('-')
            && !codename.contains('-')
            && uri.starts_with("http")
        {
            return Ok(((*uri).to_owned(), (*codename).to_owned()));
        }
    }
    Err("apt has no Debian archive configured".to_owned())
}
