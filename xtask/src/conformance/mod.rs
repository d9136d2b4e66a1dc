//! Other people's judgement of our runtime: the validation programs of opencontainers/runtime-tools, run on ours and on runc.
//!
//! A checkout, and the Go toolchain that compiles its programs, are brought by whoever calls this.

mod tap;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::packages;
use crate::run::{build_loment, succeed, which, workspace};
use tap::Outcome;

/// A program that takes longer hangs, in seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// `conformance CHECKOUT [NAME…]`: fails when a program that runc passes fails with ours and is not in docs/conformance.md.
pub fn run(checkout: &Path, names: &[&str]) -> anyhow::Result<ExitCode> {
    if !packages::is_root()? {
        bail!("validation programs make real containers: run as root");
    }
    let programs = compile(checkout, names)?;
    let directory = tempfile::tempdir().context("make a directory")?;
    let ours = directory.path().join("loment-runtime");
    std::os::unix::fs::symlink(build_loment("dev")?, &ours).context("make a link to the binary")?;
    let control = which("runc").context("runc is the control: install it")?;
    let documented = documented()?;
    let mut worse = Vec::new();
    println!("{:<40} {:>18} {:>18}", "", "ours ok/not ok", "runc ok/not ok");
    for (name, program) in &programs {
        let [a, b] = [&ours, &control].map(|runtime| judge(checkout, program, runtime));
        let (a, b) = (a?, b?);
        let is_worse = a.is_worse_than(&b);
        let mark = match (is_worse, documented.contains(name)) {
            (true, true) => "  explained in docs/conformance.md",
            (true, false) => "  WORSE",
            _ => "",
        };
        println!("{name:<40} {:>18} {:>18}{mark}", a.to_string(), b.to_string());
        if is_worse && !documented.contains(name) {
            worse.push(name.clone());
        }
    }
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("worse than runc, and not explained: {}", worse.join(" "));
    Ok(ExitCode::FAILURE)
}

/// The programs, by name, compiled where that has not been done.
fn compile(checkout: &Path, names: &[&str]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let go = |output: &Path, package: &str| -> anyhow::Result<()> {
        if output.exists() {
            return Ok(());
        }
        let mut go =
            Command::new(which("go").context("the validation programs are written in Go: install it")?);
        go.args(["build", "-mod=vendor", "-o"]).arg(output).arg(package);
        succeed(go.env("CGO_ENABLED", "0").current_dir(checkout))
    };
    go(&checkout.join("runtimetest"), "./cmd/runtimetest")?;
    let validation = checkout.join("validation");
    let entries = std::fs::read_dir(&validation).with_context(|| format!("list {}", validation.display()))?;
    let mut programs = BTreeMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = names.is_empty() || names.iter().any(|n| name.contains(n));
        if !wanted || !entry.path().join(format!("{name}.go")).exists() {
            continue;
        }
        let program = entry.path().join(format!("{name}.t"));
        go(&program, &format!("./validation/{name}"))?;
        programs.insert(name, program);
    }
    Ok(programs)
}

/// Runs one program, which prints TAP.
fn judge(checkout: &Path, program: &Path, runtime: &Path) -> anyhow::Result<Outcome> {
    let mut command = Command::new(program);
    command.env("RUNTIME", runtime).current_dir(checkout).stdin(Stdio::null());
    let output = tempfile::tempfile().context("make a file")?;
    command.stdout(output.try_clone().context("make a file")?).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().context("wait for a validation program")? {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill().context("end a validation program")?;
            child.wait().context("wait for a validation program")?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut file = output;
    std::io::Seek::rewind(&mut file).context("read the results")?;
    let text = std::io::read_to_string(file).context("read the results")?;
    Ok(Outcome::parse(&text, status.is_some_and(|s| s.success())))
}

/// The programs whose difference from runc docs/conformance.md explains: the first column of its table.
fn documented() -> anyhow::Result<Vec<String>> {
    let path = workspace().join("docs/conformance.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect())
}
