//! Podman's own tests of its command line: bats files that run `podman`, which is ours here.

mod image;
mod scene;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};

use self::scene::Scene;
use super::patience;
use super::rows;
use crate::packages;
use crate::run::{build_loment, which};

/// Below a checkout.
pub(super) const TESTS: &str = "test/system";
/// Its part of docs/conformance.md.
const HEADING: &str = "## Podman's tests of its command line";
/// A file of tests that takes longer hangs. Each of its tests has limits of its own, which are shorter.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Runs the files whose names begin with one of `names`, all without any, and says which tests failed. Fails when more of a file failed
/// than docs/conformance.md says.
pub(super) fn run(checkout: &Path, names: &[&str]) -> anyhow::Result<ExitCode> {
    packages::install(&["bats", "jq", "skopeo", "busybox-static", "openssl"])?;
    let bats = which("bats").context("bats runs these tests: install it")?;
    let scene = Scene::new(&build_loment("dev")?)?;
    let known = rows(HEADING)?;
    let (mut worse, mut sum) = (Vec::new(), (0, 0));
    println!("{:<28} {:>6} {:>8}", "", "ok", "not ok");
    for file in files(&checkout.join(TESTS), names)? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(&bats);
        scene.lead(command.arg("--tap").arg(&file));
        let (text, _) = patience::within(&mut command, PATIENCE)?;
        scene.clear()?;
        // What was left out counts for nobody.
        let ok = text.lines().filter(|line| line.starts_with("ok ") && !line.contains("# skip")).count();
        let failed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("not ok ")).collect();
        let expected = known.iter().find(|(file, _)| *file == name);
        let expected = expected.and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
        let mark = if failed.len() > expected { "  WORSE" } else { "" };
        println!("{name:<28} {ok:>6} {:>8}{mark}", failed.len());
        failed.iter().for_each(|test| println!("    {test}"));
        sum = (sum.0 + ok, sum.1 + failed.len());
        if failed.len() > expected {
            worse.push(name);
        }
    }
    println!("{:<28} {:>6} {:>8}", "all", sum.0, sum.1);
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("more failures than docs/conformance.md explains: {}", worse.join(" "));
    Ok(ExitCode::FAILURE)
}

fn files(dir: &Path, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let is_wanted = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.ends_with(".bats") && (names.is_empty() || names.iter().any(|name| file.starts_with(name)))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_wanted).collect();
    files.sort_unstable();
    if files.is_empty() {
        bail!("no file of tests in {} begins with {}", dir.display(), names.join(" or "));
    }
    Ok(files)
}
