//! P2, P4, P5: the same commands through Podman and through ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use loment_testkit::Fixtures;

use super::Bench;
use super::docker::Daemon;
use super::measure::{Subject, compare};
use crate::run::{succeed, target_directory, unmount_below, which};

/// How many containers `ps` lists.
const CONTAINERS: usize = 100;

/// A command line with a store of its own and an image in it.
pub(super) struct Engine {
    name: String,
    program: PathBuf,
    globals: Vec<String>,
    /// Of `run` and `create`.
    flags: &'static [&'static str],
    pub(super) image: String,
}

impl Engine {
    /// Ours, with a store of its own.
    fn new(bench: &Bench, name: &str) -> anyhow::Result<Self> {
        let globals = places(bench, name);
        let program = bench.named("loment")?;
        Ok(Self { name: name.to_owned(), program, globals, flags: &[], image: String::new() })
    }

    /// The same with a storage option.
    pub(super) fn ours(bench: &Bench, name: &str, option: &str) -> anyhow::Result<Self> {
        let mut engine = Self::new(bench, name)?;
        engine.globals.extend(["--storage-opt", option].map(str::to_owned));
        Ok(engine)
    }

    /// Podman, where it is installed.
    pub(super) fn podman(bench: &Bench) -> Option<Self> {
        let Some(program) = which("podman") else {
            println!("podman: not measured, not installed");
            return None;
        };
        let mut globals = places(bench, "podman");
        globals.extend(["--cgroup-manager", "cgroupfs", "--events-backend", "file"].map(str::to_owned));
        // crun, its default, refuses machines that have control groups of both versions.
        globals.extend(["--runtime", "runc", "--storage-driver", "overlay"].map(str::to_owned));
        // Its default limits fail where root lacks CAP_SYS_RESOURCE.
        let flags = &["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
        Some(Self { name: "podman".to_owned(), program, globals, flags, image: String::new() })
    }

    /// Docker, whose daemon runs, with an image pulled.
    pub(super) fn docker(daemon: &Daemon) -> anyhow::Result<Self> {
        let program = which("docker").context("find docker")?;
        let registry = Fixtures::cached(&target_directory()?.join("tmp")).serve();
        let image = registry.name("busybox:latest");
        let engine =
            Self { name: "docker".to_owned(), program, globals: daemon.globals(), flags: &[], image };
        engine.quietly(&["pull", "--quiet", &engine.image])?;
        Ok(engine)
    }

    pub(super) fn program_name(&self) -> &str {
        &self.name
    }

    /// The words of a command.
    pub(super) fn words(&self, arguments: &[&str]) -> Vec<String> {
        let arguments = arguments.iter().map(|a| (*a).to_owned());
        std::iter::once(self.program.display().to_string())
            .chain(self.globals.clone())
            .chain(arguments)
            .collect()
    }

    /// The words of running our image: `arguments` are flags, `program` what runs.
    pub(super) fn run_of(&self, arguments: &[&str], program: &[&str]) -> Vec<String> {
        let words = self.container("run", arguments, program);
        self.words(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A script of a shell's, in which `RUN` is running a container that ends at once, and `ENGINE` the program.
    pub(super) fn shell(&self, script: &str) -> Subject {
        let run = self.run_of(&["--rm"], &["true"]).join(" ");
        self.shell_of(&script.replace("RUN", &run).replace("ENGINE", &self.words(&[]).join(" ")))
    }

    /// A script of a shell's.
    pub(super) fn shell_of(&self, script: &str) -> Subject {
        let script = script.to_owned();
        Subject::new(&self.name, move |_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]);
            shell
        })
    }

    /// Pulls an image, which is then the one that is run.
    pub(super) fn pull(&mut self, image: &str) -> anyhow::Result<()> {
        let pulled = self.quietly(&["pull", "--quiet", "--tls-verify=false", image]);
        pulled.with_context(|| self.name.clone())?;
        self.image = image.to_owned();
        Ok(())
    }

    /// Running a container that ends at once.
    pub(super) fn runs(&self) -> Subject {
        let words = self.container("run", &["--rm"], &["true"]);
        self.subject(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.globals).args(arguments);
        command
    }

    pub(super) fn quietly(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(arguments);
        succeed(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// `run` or `create` of our image: `arguments` are its flags, `program` what runs.
    fn container(&self, command: &str, arguments: &[&str], program: &[&str]) -> Vec<String> {
        let words =
            [&[command, "--network", "none"], self.flags, arguments, &[&self.image], program].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Makes or starts a container.
    pub(super) fn make(&self, command: &str, arguments: &[&str], program: &[&str]) -> anyhow::Result<()> {
        let words = self.container(command, arguments, program);
        self.quietly(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A command.
    pub(super) fn subject(&self, arguments: &[&str]) -> Subject {
        let (program, globals) = (self.program.clone(), self.globals.clone());
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Subject::new(&format!("{} {}", self.name, arguments.first().map_or("", String::as_str)), move |_| {
            let mut command = Command::new(&program);
            command.args(&globals).args(&arguments);
            command
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // All of it goes with its daemon.
        if self.name == "docker" {
            return;
        }
        let removed = self.quietly(&["rm", "--force", "--all", "--time", "0"]);
        // Podman keeps its storage mounted below its root.
        if self.name == "podman" {
            drop(self.quietly(&["system", "reset", "--force"]));
        }
        // Ours keeps layers that are file systems mounted below the other directory, for the next container.
        let unmounted = self.globals.get(3).map_or(Ok(()), |run| unmount_below(Path::new(run)));
        if let Err(e) = removed.and(unmounted) {
            eprintln!("xtask: {e:#}");
        }
    }
}

fn places(bench: &Bench, name: &str) -> Vec<String> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let name = name.replace([',', ' '], "");
    let (root, run) = (bench.path(&format!("{name}-root")), bench.run_path(&format!("{name}-run")));
    vec!["--root".into(), text(root), "--runroot".into(), text(run)]
}

/// Ours and, where it is installed, Podman, each with busybox pulled from a registry.
pub(super) fn engines(bench: &Bench) -> anyhow::Result<Vec<Engine>> {
    let fixtures = Fixtures::cached(&target_directory()?.join("tmp"));
    let registry = fixtures.serve();
    let image = registry.name("busybox:latest");
    let mut engines: Vec<_> =
        std::iter::once(Engine::new(bench, "loment")?).chain(Engine::podman(bench)).collect();
    engines.iter_mut().try_for_each(|engine| engine.pull(&image))?;
    Ok(engines)
}

fn side_by_side(title: &str, engines: &[Engine], arguments: &[&str], runs: usize) -> anyhow::Result<()> {
    let subjects: Vec<_> = engines.iter().map(|e| e.subject(arguments)).collect();
    compare(title, &subjects, runs)
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let engines = engines(bench)?;
    let subjects = engines.iter().map(Engine::runs);
    compare("run: run --rm --network none busybox true", &subjects.collect::<Vec<_>>(), bench.runs)
}

pub(super) fn exec(bench: &Bench) -> anyhow::Result<()> {
    let engines = engines(bench)?;
    for engine in &engines {
        engine.make("run", &["--detach", "--name", "c"], &["sleep", "3600"])?;
    }
    side_by_side("exec: exec in a running container, true", &engines, &["exec", "c", "true"], bench.runs)
}

pub(super) fn queries(bench: &Bench) -> anyhow::Result<()> {
    let engines = engines(bench)?;
    for engine in &engines {
        for i in 0..CONTAINERS {
            engine.make("create", &["--name", &format!("c{i}")], &["true"])?;
        }
    }
    side_by_side("queries: ps --all with 100 containers", &engines, &["ps", "--all"], bench.runs)?;
    side_by_side("queries: inspect of one of them", &engines, &["inspect", "c50"], bench.runs)?;
    side_by_side("queries: version", &engines, &["version"], bench.runs)
}
