//! P1: the same bundle through every runtime, and the floor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Bench;
use super::measure::{Subject, compare};
use crate::run::{succeed, which, workspace};

const OURS: &str = "loment-runtime";

/// Measures on the host's control groups, and where those are not v2 alone, a second time in a mount namespace that
/// sees only v2, since crun knows nothing else.
pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let (dir, states) = (bench.path("runtime"), bench.run_path("states"));
    prepare(&dir)?;
    let place = Place { dir: &dir, states: &states, bundle: "bundle" };
    let mut subjects = vec![floor(&dir, false), floor(&dir, true), place.subject(OURS, bench.named(OURS)?)];
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    for peer in ["crun", "runc"] {
        match which(peer) {
            None => println!("{peer}: not measured, not installed"),
            Some(_) if peer == "crun" && !unified => {
                println!("crun: only measured on v2, it refuses this machine's")
            }
            Some(path) => subjects.push(place.subject(peer, path)),
        }
    }
    compare("runtime: run of /bin/busybox true, default mounts and seccomp profile", &subjects, bench.runs)?;
    if unified {
        return Ok(());
    }
    let script = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let mut view = Command::new("unshare");
    view.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    view.arg(std::env::current_exe().context("find this program")?).arg("bench-view");
    view.arg(&dir).arg(&states).arg(bench.named(OURS)?).arg(bench.runs.to_string());
    succeed(&mut view)
}

/// The second half, called in the mount namespace that sees v2.
pub(super) fn in_view(dir: &Path, states: &Path, loment: &Path, runs: usize) -> anyhow::Result<()> {
    let place = Place { dir, states, bundle: "bundle-v2" };
    let mut subjects = vec![floor(dir, false), place.subject(OURS, loment.to_owned())];
    for peer in ["crun", "runc"] {
        if let Some(path) = which(peer) {
            subjects.push(place.subject(peer, path));
        }
    }
    compare(
        "runtime: the same where only control groups v2 are mounted (without controllers)",
        &subjects,
        runs,
    )
}

/// Compiles the floor and writes two bundles over one root file system.
fn prepare(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    let source = workspace().join("bench/floor.c");
    succeed(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(dir.join("floor")).arg(source))?;
    let rootfs = dir.join("rootfs");
    loment_testkit::busybox_rootfs(&rootfs);
    let text = fs::read_to_string(workspace().join("bench/config-full.json"))
        .context("read bench/config-full.json")?;
    let mut config: Value = serde_json::from_str(&text).context("parse bench/config-full.json")?;
    config["root"]["path"] = rootfs.to_string_lossy().into();
    write_bundle(&dir.join("bundle"), &config)?;
    // crun raises RLIMIT_MEMLOCK for device rules on v2, which root may not where CAP_SYS_RESOURCE is missing; and
    // there is no pids controller in that view.
    let Some(linux) = config["linux"].as_object_mut() else {
        bail!("bench/config-full.json has no linux section")
    };
    linux.remove("resources");
    write_bundle(&dir.join("bundle-v2"), &config)
}

fn write_bundle(dir: &Path, config: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("config.json"), serde_json::to_vec(config)?).context("write a bundle")
}

fn floor(dir: &Path, parent_moves: bool) -> Subject {
    let (program, rootfs) = (dir.join("floor"), dir.join("rootfs"));
    let name = if parent_moves { "floor, parent moves the child into groups" } else { "floor" };
    Subject::new(name, move |_| {
        let mut command = Command::new(&program);
        command.arg("-r").arg(&rootfs).args(["-c", "loment-bench-floor"]);
        if parent_moves {
            command.arg("-p");
        }
        command
    })
}

/// Where bundles are, and where runtimes remember containers: in memory, as below /run.
struct Place<'a> {
    dir: &'a Path,
    states: &'a Path,
    bundle: &'a str,
}

impl Place<'_> {
    fn subject(&self, name: &str, program: PathBuf) -> Subject {
        let (bundle, root) = (self.dir.join(self.bundle), self.states.join(name));
        let name = name.to_owned();
        Subject::new(&name.clone(), move |run| {
            let mut command = Command::new(&program);
            command.arg("--root").arg(&root).args(["run", "--bundle"]).arg(&bundle);
            command.arg(format!("loment-bench-{name}-{run}"));
            command
        })
    }
}
