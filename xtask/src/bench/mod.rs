//! `cargo xtask bench`: ours beside what Debian ships, in one run on one machine. Figures are printed, never asserted.

mod docker;
mod engine;
mod everyday;
mod images;
mod measure;
mod memory;
mod ps;
mod runtime;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use rustix::process::{getpid, set_child_subreaper};

use crate::{packages, run};

/// The parts, by the names that SPECIFICATION.md refers to.
pub const NAMES: &[&str] = &["runtime", "run", "exec", "queries", "ps", "memory", "engine", "images"];

/// What every part needs.
pub(crate) struct Bench {
    /// The release binary.
    loment: PathBuf,
    /// A directory for bundles and stores, deleted at the end.
    dir: tempfile::TempDir,
    /// The same, in memory: for what a machine has below /run.
    volatile: tempfile::TempDir,
    runs: usize,
    /// Little is measured, by somebody who tries the benchmark itself.
    small: bool,
    /// Another crun than Debian's.
    crun: Option<PathBuf>,
}

impl Bench {
    /// `loment` under another name.
    fn named(&self, name: &str) -> anyhow::Result<PathBuf> {
        let link = self.dir.path().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(&self.loment, &link).context("make a link to the binary")?;
        }
        Ok(link)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory in memory, as /run is.
    fn run_path(&self, name: &str) -> PathBuf {
        self.volatile.path().join(name)
    }
}

/// `bench [PART…] [--runs N] [--crun FILE]`. What follows `images` may be parts of that. `--small` is for trying the benchmark itself.
pub fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let mut parts = Vec::new();
    let mut of_images = Vec::new();
    let (mut runs, mut crun, mut small) = (30, None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--runs" => runs = rest.next().context("--runs needs a number")?.parse().context("--runs")?,
            "--crun" => crun = Some(PathBuf::from(rest.next().context("--crun needs a file")?)),
            "--small" => small = true,
            name if parts.last() == Some(&"images") && images::PARTS.contains(&name) => of_images.push(name),
            name if NAMES.contains(&name) => parts.push(name),
            other => {
                let (all, more) = (NAMES.join(", "), images::PARTS.join(", "));
                bail!("unknown part {other:?}: choose from {all}; after images from {more}")
            }
        }
    }
    if parts.is_empty() {
        parts.extend(NAMES);
    }
    if !packages::is_root()? {
        bail!("benchmarks make real containers: run as root");
    }
    if let Err(e) = packages::install(packages::TESTS).and_then(|()| packages::install(packages::PEERS)) {
        println!("not every peer can be measured: {e:#}");
    }
    let directory = |parent: &str| {
        let made = tempfile::Builder::new().prefix("loment-test-bench-").tempdir_in(parent);
        made.with_context(|| format!("make a directory in {parent}"))
    };
    let bench = Bench {
        loment: run::build_loment("release")?,
        dir: directory("/tmp")?,
        volatile: directory("/dev/shm")?,
        runs,
        small,
        crun,
    };
    set_child_subreaper(Some(getpid())).context("become a subreaper")?;
    header(&bench)?;
    for part in parts {
        match part {
            "runtime" => runtime::run(&bench)?,
            "run" => engine::run(&bench)?,
            "exec" => engine::exec(&bench)?,
            "queries" => engine::queries(&bench)?,
            "ps" => ps::run(&bench)?,
            "engine" => everyday::run(&bench)?,
            "images" => images::run(&bench, &of_images)?,
            _ => memory::run(&bench)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The second half of a part that runs in a mount namespace of its own; see [`runtime`].
pub fn run_in_view(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    set_child_subreaper(Some(getpid())).context("become a subreaper")?;
    runtime::in_view(arguments)?;
    Ok(ExitCode::SUCCESS)
}

fn header(bench: &Bench) -> anyhow::Result<()> {
    let loment = &bench.loment;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let size = std::fs::metadata(loment).map_or(0, |m| m.len());
    println!("Linux {}, {cpus} CPUs, load {}", kernel.trim(), load());
    println!("{}: {:.1} MiB", loment.display(), size as f64 / f64::from(1 << 20));
    for name in ["crun", "runc", "podman", "conmon", "dockerd"] {
        match run::which(name).and_then(|path| version(&path)) {
            Some(line) => println!("{name}: {line}"),
            None => println!("{name}: not installed, not measured"),
        }
    }
    if let Some(crun) = &bench.crun {
        let line = version(crun).with_context(|| format!("{} does not say its version", crun.display()))?;
        println!("--crun: {line}");
    }
    Ok(())
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
