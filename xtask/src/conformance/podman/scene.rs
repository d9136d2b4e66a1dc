//! What the tests find on their machine: ours as `podman`, with stores of its own, and an image.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::image;
use crate::run::{unmount_below, which};
use anyhow::Context;

/// The image that all tests use, and another one, by the names their registry has for them.
const IMAGES: [&str; 2] = ["20241011", "00000004"];

/// Programs and stores for a run, removed at its end.
pub(super) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    /// With that binary as `podman`.
    pub(super) fn new(loment: &Path) -> anyhow::Result<Self> {
        let scene = Self { dir: tempfile::Builder::new().prefix("loment-test-podman-").tempdir()? };
        for dir in ["bin", "path", "tmp"] {
            fs::create_dir(scene.path(dir)).context("make a directory")?;
        }
        // The name is what makes it Podman.
        fs::copy(loment, scene.path("bin/podman")).context("copy the binary")?;
        let (binary, state) = (scene.path("bin/podman"), scene.path("state"));
        let (binary, state) = (binary.display(), state.display());
        // There are no networks to be removed after each test.
        let none = r#""network prune --force"|"network ls --noheading""#;
        let podman = format!(
            "#!/bin/sh\ncase \"$*\" in {none}) exit 0;; esac\nexec {binary} --root {state}/root --runroot {state}/run \"$@\"\n"
        );
        scene.program("podman", &podman)?;
        // They put the image in the store with skopeo, which knows no store but Podman's.
        let skopeo = which("skopeo").context("the tests use skopeo: install it")?;
        scene.program("skopeo", &format!(
            "#!/bin/bash\ncase \"$*\" in 'copy --all oci-archive:'*containers-storage:*) exec podman load --quiet --input \"${{3#oci-archive:}}\";; esac\nexec {} \"$@\"\n",
            skopeo.display()
        ))?;
        // Its containers would be the machine's, and stay.
        scene.program("buildah", "#!/bin/sh\necho 'this buildah makes nothing' >&2\nexit 127\n")?;
        // Theirs is newer than Debian's.
        let openssl = which("openssl").context("the tests use openssl: install it")?;
        scene.program("openssl", &format!(
            "#!/bin/bash\nwords=()\nfor word in \"$@\"; do [ \"$word\" = -quiet ] || words+=(\"$word\"); done\nexec {} \"${{words[@]}}\"\n",
            openssl.display()
        ))?;
        let kept = scene.path("tmp/podman-systest-imagecache-0");
        fs::create_dir(&kept).context("make a directory")?;
        // What is said once is not what they expect of the first container.
        let root = scene.path("state/root");
        fs::create_dir_all(&root).context("make a directory")?;
        fs::write(root.join(".network-notice"), "").context("write a file")?;
        for tag in IMAGES {
            let name = format!("quay.io/libpod/testimage:{tag}");
            let archive = kept.join(format!("{}.tar", name.replace(['/', ':'], "--")));
            image::write(&archive, &name)?;
        }
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path("path").join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("set a mode")
    }

    /// Has a command find it.
    pub(super) fn lead(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.path("path").display()))
            .env("PODMAN", self.path("path/podman"))
            .env("BATS_TMPDIR", self.path("tmp"))
            .env("TMPDIR", self.path("tmp"))
            // Seconds; they allow more, for machines with more to do.
            .env("PODMAN_TIMEOUT", "30")
            .env("BATS_TEST_TIMEOUT", "90");
    }

    /// Removes what tests left.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        let mut rm = Command::new(self.path("path/podman"));
        rm.args(["rm", "--force", "--all", "--time", "0"]).stdout(Stdio::null()).stderr(Stdio::null());
        rm.status().context("remove containers").map(drop)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A store has mounts below it.
        let _ = self.clear();
        let _ = unmount_below(self.dir.path());
    }
}
