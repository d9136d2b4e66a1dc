//! P2, P4, P5: the same commands through Podman and through ours.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use loment_testkit::Fixtures;

use super::Bench;
use super::measure::{Subject, compare};
use crate::run::{succeed, target_directory, which};

/// How many containers `ps` lists.
const CONTAINERS: usize = 100;

/// A command line with a store of its own and an image in it.
pub(super) struct Engine {
    name: &'static str,
    program: PathBuf,
    globals: Vec<String>,
    /// Of `run` and `create`.
    flags: &'static [&'static str],
    pub(super) image: String,
}

impl Engine {
    pub(super) fn program_name(&self) -> &'static str {
        self.name
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

    fn subject(&self, arguments: &[&str]) -> Subject {
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
        let removed = self.quietly(&["rm", "--force", "--all", "--time", "0"]);
        // Podman keeps its storage mounted below its root.
        if self.name == "podman" {
            drop(self.quietly(&["system", "reset", "--force"]));
        }
        if let Err(e) = removed {
            eprintln!("xtask: {e:#}");
        }
    }
}

/// Ours and, where it is installed, Podman, each with busybox pulled from a registry.
pub(super) fn engines(bench: &Bench) -> anyhow::Result<Vec<Engine>> {
    let fixtures = Fixtures::cached(&target_directory()?.join("tmp"));
    let registry = fixtures.serve();
    let image = registry.name("busybox:latest");
    let globals = |name: &str| -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (root, run) = (bench.path(&format!("{name}-root")), bench.run_path(&format!("{name}-run")));
        vec!["--root".into(), text(root), "--runroot".into(), text(run)]
    };
    let mut engines = vec![Engine {
        name: "loment",
        program: bench.named("loment")?,
        globals: globals("loment"),
        flags: &[],
        image: image.clone(),
    }];
    match which("podman") {
        None => println!("podman: not measured, not installed"),
        Some(program) => {
            let mut globals = globals("podman");
            globals.extend(["--cgroup-manager", "cgroupfs", "--events-backend", "file"].map(str::to_owned));
            // crun, its default, refuses machines that have control groups of both versions.
            globals.extend(["--runtime", "runc", "--storage-driver", "overlay"].map(str::to_owned));
            // Its default limits fail where root lacks CAP_SYS_RESOURCE.
            let flags = &["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
            engines.push(Engine { name: "podman", program, globals, flags, image: image.clone() });
        }
    }
    for engine in &engines {
        engine
            .quietly(&["pull", "--quiet", "--tls-verify=false", &image])
            .with_context(|| engine.name.to_owned())?;
    }
    Ok(engines)
}

fn side_by_side(title: &str, engines: &[Engine], arguments: &[&str], runs: usize) -> anyhow::Result<()> {
    let subjects: Vec<_> = engines.iter().map(|e| e.subject(arguments)).collect();
    compare(title, &subjects, runs)
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let engines = engines(bench)?;
    let subjects = engines.iter().map(|e| {
        let words = e.container("run", &["--rm"], &["true"]);
        e.subject(&words.iter().map(String::as_str).collect::<Vec<_>>())
    });
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
