//! Running other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The top of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A cargo command in the workspace. What cargo told us about our own package, it must not take for an answer about others:
/// build scripts ask for such variables, and would run again each time they change.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    command
}

/// Runs to the end with our own streams; any failure is an error that names the command.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns standard output.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let out =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("start {}", shown(command)))?;
    if !out.status.success() {
        bail!("{} failed: {}", shown(command), out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("read the output of {}", shown(command)))
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Where a program is on `PATH`, or in the directories of the superuser.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let always = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(always).map(|d| d.join(program)).find(|p| p.is_file())
}

/// Cargo's target directory.
pub fn target_directory() -> anyhow::Result<PathBuf> {
    let text = output(&mut cargo(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("parse cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata has no target_directory")?.into())
}

/// Builds the binary alone and returns where it is.
pub fn build_loment(profile: &str) -> anyhow::Result<PathBuf> {
    build(&["--package", "loment", "--profile", profile])
}

/// Builds what `arguments` select and returns where the binary is, from what cargo says rather than from how directories
/// are laid out.
pub fn build(arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let mut build = cargo(["build", "--locked", "--message-format=json-render-diagnostics"]);
    let text = output(build.args(arguments))?;
    executable(&text, "loment", false).context("cargo build named no executable of loment")
}

/// Builds an executable of another checkout, with what of ours is set for rustc taken away.
pub fn build_in(checkout: &Path, arguments: &[&str], name: &str, flags: &str) -> anyhow::Result<PathBuf> {
    let mut build = cargo(["build", "--locked", "--message-format=json-render-diagnostics"]);
    // Of theirs, which may ask for a toolchain that is not there.
    build.args(arguments).current_dir(checkout).env("RUSTFLAGS", flags).env_remove("CARGO_BUILD_TARGET");
    let text = output(&mut build)?;
    executable(&text, name, false).with_context(|| format!("cargo build named no executable of {name}"))
}

/// A test program and the binary that it tests.
#[derive(Debug)]
pub struct Built {
    /// The test program.
    pub program: PathBuf,
    /// The binary.
    pub loment: PathBuf,
}

/// Builds a test program of a package, and the package's binary, in the dev profile.
pub fn build_test(package: &str, test: &str) -> anyhow::Result<Built> {
    let mut build = cargo(["test", "--no-run", "--locked", "--message-format=json-render-diagnostics"]);
    let text = output(build.args(["--package", package, "--test", test]))?;
    let program =
        executable(&text, test, true).with_context(|| format!("cargo named no test program {test}"))?;
    let loment =
        executable(&text, package, false).with_context(|| format!("cargo named no binary {package}"))?;
    Ok(Built { program, loment })
}

/// The executable of a target in cargo's messages.
fn executable(messages: &str, target: &str, is_test: bool) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    let mut executables = artifacts
        .filter(|a| a["target"]["name"] == target && a["profile"]["test"] == is_test)
        .filter_map(|a| a["executable"].as_str().map(PathBuf::from));
    executables.next_back()
}

/// Ends mounts below a directory, the last first.
pub fn unmount_below(dir: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(dir)) {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH)
            .with_context(|| format!("unmount {point}"))?;
    }
    Ok(())
}
