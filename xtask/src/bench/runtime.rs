//! P1: the same bundles through every runtime, and the floor.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use super::Bench;
use super::measure::{Subject, compare};
use crate::run::{succeed, which, workspace};

const OURS: &str = "loment-runtime";
/// How many mounts the host has, for what it costs to copy them.
const MOUNTS: [usize; 3] = [10, 100, 1000];

/// Measures on the host's control groups, and where those are not v2 alone, again in mount namespaces that see only v2,
/// since crun knows nothing else.
pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let (dir, states) = (bench.path("runtime"), bench.run_path("states"));
    prepare(&dir)?;
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    let crun = bench.crun.as_deref();
    let all = Runtimes::new(&dir, &states, bench.named(OURS)?, crun, unified);
    all.run(
        "runtime: run of /bin/busybox true, default mounts and seccomp profile",
        "bundle",
        true,
        bench.runs,
    )?;
    all.run("runtime: the same without a seccomp profile", "bundle-open", false, bench.runs)?;
    all.steps("bundle", bench.runs)?;
    all.exec("bundle-sleep", bench.runs)?;
    let view = |mounts: usize| {
        let script = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
        let mut view = Command::new("unshare");
        view.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        view.arg(std::env::current_exe().context("find this program")?).arg("bench-view");
        view.args([dir.as_os_str(), states.as_os_str(), bench.named(OURS)?.as_os_str()]);
        view.arg(crun.map_or(OsStr::new(""), |c| c.as_os_str())).arg(bench.runs.to_string());
        succeed(view.arg(mounts.to_string()))
    };
    if !unified {
        view(0)?;
    }
    MOUNTS.into_iter().try_for_each(view)
}

/// A part of it, called in a mount namespace of its own that sees v2 only; with `mounts` more mounts.
pub(super) fn in_view(arguments: &[&str]) -> anyhow::Result<()> {
    let [dir, states, ours, crun, runs, mounts] = arguments else { bail!("this is called by bench itself") };
    let number = |text: &str| text.parse::<usize>().with_context(|| format!("number {text:?}"));
    let (dir, runs, mounts) = (Path::new(dir), number(runs)?, number(mounts)?);
    let crun = Some(Path::new(crun)).filter(|c| !c.as_os_str().is_empty());
    let all = Runtimes::new(dir, Path::new(states), PathBuf::from(ours), crun, true);
    if mounts == 0 {
        let title = "runtime: run where only control groups v2 are mounted (without controllers)";
        return all.run(title, "bundle-v2", true, runs);
    }
    let place = dir.join("mounts");
    fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
    for _ in 0..mounts {
        // One on the other.
        mount("none", &place, "tmpfs", MountFlags::empty(), None).context("mount a tmpfs")?;
    }
    all.run(&format!("runtime: the same with {mounts} more mounts on the host"), "bundle-v2", true, runs)
}

/// Compiles the floor and writes the bundles over one root file system.
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
    let bundle = |name: &str, edit: &dyn Fn(&mut Value)| {
        let mut config = config.clone();
        edit(&mut config);
        write_bundle(&dir.join(name), &config)
    };
    let without = |config: &mut Value, part: &str| {
        config["linux"].as_object_mut().map(|linux| linux.remove(part));
    };
    bundle("bundle", &|_| ())?;
    bundle("bundle-open", &|config| without(config, "seccomp"))?;
    bundle("bundle-sleep", &|config| config["process"]["args"] = json!(["/bin/busybox", "sleep", "3600"]))?;
    // crun raises RLIMIT_MEMLOCK for device rules on v2, which root may not where CAP_SYS_RESOURCE is missing; and
    // there is no pids controller in that view.
    bundle("bundle-v2", &|config| without(config, "resources"))
}

fn write_bundle(dir: &Path, config: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("config.json"), serde_json::to_vec(config)?).context("write a bundle")
}

/// A runtime: what it is called here, and where it is.
#[derive(Clone)]
struct Runtime {
    name: String,
    program: PathBuf,
    /// Where it remembers containers: in memory, as below /run.
    root: PathBuf,
}

impl Runtime {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(words);
        command
    }

    fn id(&self, run: usize) -> String {
        format!("loment-bench-{}-{run}", self.name.replace(' ', "-"))
    }
}

/// All that are compared, over the bundles of one directory.
struct Runtimes<'a> {
    dir: &'a Path,
    runtimes: Vec<Runtime>,
}

impl<'a> Runtimes<'a> {
    /// Ours, Debian's and another crun. crun is only measured on v2.
    fn new(dir: &'a Path, states: &Path, ours: PathBuf, crun: Option<&Path>, unified: bool) -> Self {
        let mut found = vec![(OURS.to_owned(), ours)];
        if unified {
            found.extend(which("crun").map(|path| ("crun".to_owned(), path)));
            found.extend(crun.map(|path| ("crun (--crun)".to_owned(), path.to_owned())));
        } else {
            println!("crun: only measured on v2, it refuses this machine's groups");
        }
        found.extend(which("runc").map(|path| ("runc".to_owned(), path)));
        let runtime = |(n, (name, program)): (usize, (String, PathBuf))| Runtime {
            name,
            program,
            root: states.join(n.to_string()),
        };
        Self { dir, runtimes: found.into_iter().enumerate().map(runtime).collect() }
    }

    fn bundle(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// `run`, beside the floor.
    fn run(&self, title: &str, bundle: &str, filtered: bool, runs: usize) -> anyhow::Result<()> {
        let mut subjects = vec![self.floor(&[], filtered)];
        if !self.bundle(bundle).ends_with("-v2") {
            subjects.push(self.floor(&["-p"], filtered));
        }
        for runtime in &self.runtimes {
            let (bundle, r) = (self.bundle(bundle), runtime.clone());
            let command = move |run| r.command(&["run", "--bundle", &bundle, &r.id(run)]);
            subjects.push(Subject::new(&runtime.name, command));
        }
        compare(title, &subjects, runs)
    }

    fn floor(&self, flags: &'static [&str], filtered: bool) -> Subject {
        let (program, rootfs) = (self.dir.join("floor"), self.dir.join("rootfs"));
        let name = if flags.is_empty() { "floor" } else { "floor, parent moves the child into groups" };
        Subject::new(name, move |_| {
            let mut command = Command::new(&program);
            command.arg("-r").arg(&rootfs).args(["-c", "loment-bench-floor"]).args(flags);
            if !filtered {
                command.arg("-S");
            }
            command
        })
    }

    /// What engines do: `create`, `start`, and when it has ended, `delete`.
    fn steps(&self, bundle: &str, runs: usize) -> anyhow::Result<()> {
        let subjects = self.runtimes.iter().map(|runtime| {
            let (bundle, r) = (self.bundle(bundle), runtime.clone());
            Subject::of_several(&runtime.name, move |run| {
                let id = r.id(run);
                let create = r.command(&["create", "--bundle", &bundle, &id]);
                vec![create, r.command(&["start", &id]), r.command(&["delete", "--force", &id])]
            })
        });
        compare("runtime: create, start and delete --force", &subjects.collect::<Vec<_>>(), runs)
    }

    /// `exec` in a container that runs.
    fn exec(&self, bundle: &str, runs: usize) -> anyhow::Result<()> {
        let running: Vec<_> = self
            .runtimes
            .iter()
            .map(|r| Running::start(r, &self.bundle(bundle)))
            .collect::<Result<_, _>>()?;
        let subjects = running.iter().map(|running| {
            let (r, id) = (running.runtime.clone(), running.id.clone());
            Subject::new(&r.name.clone(), move |_| r.command(&["exec", &id, "/bin/busybox", "true"]))
        });
        compare("runtime: exec of /bin/busybox true", &subjects.collect::<Vec<_>>(), runs)
    }
}

/// A container that runs until this is dropped.
struct Running {
    runtime: Runtime,
    id: String,
}

impl Running {
    fn start(runtime: &Runtime, bundle: &str) -> anyhow::Result<Self> {
        let running = Self { runtime: runtime.clone(), id: format!("{}-exec", runtime.id(0)) };
        let mut command = runtime.command(&["run", "--detach", "--bundle", bundle, &running.id]);
        succeed(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(e) = succeed(&mut self.runtime.command(&["delete", "--force", &self.id])) {
            eprintln!("xtask: {e:#}");
        }
    }
}
