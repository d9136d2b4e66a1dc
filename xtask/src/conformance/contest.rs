//! The groups of tests of youki's contest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::outcome::Outcome;
use super::patience;
use crate::run::{build_in, output, unmount_below};

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Its two programs: the one that judges, and the one that looks around inside containers.
pub(super) struct Contest {
    judge: PathBuf,
    inside: PathBuf,
    groups: Vec<String>,
    /// Where it looks for the bundle that its containers are made from.
    bundle: PathBuf,
}

impl Contest {
    /// Compiles both. The one inside must need no libraries; its dependency has to be built along with a crate that asks for
    /// all of its features.
    pub(super) fn compile(checkout: &Path, names: &[&str]) -> anyhow::Result<Self> {
        let judge = build_in(checkout, &["--release", "--package", "contest"], "contest", "")?;
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let packages = ["--package", "runtimetest", "--package", "libcontainer"];
        let inside = [&["--release", "--target", &target], &packages[..]].concat();
        let inside = build_in(checkout, &inside, "runtimetest", "-C target-feature=+crt-static")?;
        let bundle = checkout.join("tests/contest/contest");
        let list = output(Command::new(&judge).arg("list").current_dir(&bundle))?;
        let wanted = |group: &&str| names.is_empty() || names.iter().any(|n| group.contains(n));
        let groups = list.lines().filter(wanted).map(str::to_owned).collect();
        Ok(Self { judge, inside, groups, bundle })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.groups.clone()
    }

    /// Runs one group. It leaves containers behind, after it has removed their state, and their mounts.
    pub(super) fn judge(&self, group: &str, runtime: &Path) -> anyhow::Result<Outcome> {
        let before = groups_of_containers();
        let place = tempfile::tempdir().context("make a directory")?;
        let mut command = Command::new(&self.judge);
        command.arg("run").arg("--runtime").arg(runtime).arg("--runtimetest").arg(&self.inside);
        // It expects of every runtime what it knows of one; runc's are what others are measured by.
        command.args(["--tests", group]).env("RUNTIME_KIND", "runc").current_dir(&self.bundle);
        command.env("TMPDIR", place.path());
        let ran = patience::run(&mut command);
        groups_of_containers().difference(&before).for_each(|group| remove(group));
        // A container without a mount namespace of its own has its root mounted on the host's.
        unmount_below(place.path())?;
        let (text, ended_well) = ran?;
        Ok(Outcome::of_contest(&text, ended_well))
    }
}

/// Control groups with the name of one of its containers, which are UUIDs.
fn groups_of_containers() -> BTreeSet<PathBuf> {
    let children = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let top = Path::new(GROUPS);
    let all = children(top)
        .filter(|d| d.is_dir())
        .flat_map(|d| children(&d).collect::<Vec<_>>().into_iter().chain([d]));
    all.filter(|d| d.file_name().is_some_and(|n| is_containers(&n.to_string_lossy()))).collect()
}

/// `UUID` for runc, `loment-UUID` for us.
fn is_containers(name: &str) -> bool {
    let lengths: Vec<_> = name.strip_prefix("loment-").unwrap_or(name).split('-').map(str::len).collect();
    let digits = |c: char| c.is_ascii_hexdigit() || c == '-';
    lengths == [8, 4, 4, 4, 12] && name.strip_prefix("loment-").unwrap_or(name).chars().all(digits)
}

/// Ends what is in a group and removes it.
fn remove(group: &Path) {
    for _ in 0..100 {
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let members: Vec<_> = members.split_whitespace().collect();
        if members.is_empty() && fs::remove_dir(group).is_ok() {
            return;
        }
        if !members.is_empty() {
            let _ = Command::new("kill").arg("-9").args(members).status();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::is_containers;

    #[test]
    fn groups_of_containers_are_known_by_their_names() {
        assert!(is_containers("loment-044acbea-cb23-ebb9-7995-9dcdadddcd4a"));
        assert!(is_containers("044acbea-cb23-ebb9-7995-9dcdadddcd4a"));
        assert!(
            !is_containers("loment-test") && !is_containers("user.slice") && !is_containers("044acbea-cb23")
        );
    }
}
