//! Running a program that may hang.

use std::io::Seek;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::run::shown;

/// A program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// What it printed, and whether it ended well by itself.
pub(super) fn run(command: &mut Command) -> anyhow::Result<(String, bool)> {
    within(command, PATIENCE)
}

/// The same of one that hangs when it takes longer than `patience`.
pub(super) fn within(command: &mut Command, patience: Duration) -> anyhow::Result<(String, bool)> {
    let name = shown(command);
    let mut output = tempfile::tempfile().context("make a file")?;
    command.stdin(Stdio::null()).stdout(output.try_clone().context("make a file")?).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().with_context(|| format!("start {name}"))?;
    let end = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("wait for {name}"))? {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill().with_context(|| format!("end {name}"))?;
            child.wait().with_context(|| format!("wait for {name}"))?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    output.rewind().context("read the results")?;
    let text = std::io::read_to_string(output).context("read the results")?;
    Ok((text, status.is_some_and(|s| s.success())))
}
