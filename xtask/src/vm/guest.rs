//! The guest's side: what `loment-tasks.service` starts in the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::protocol::{Event, Outcome, PORT, Task, parse_tasks};
use crate::run;

/// Set for tasks, so that a test can tell that it is in the machine.
pub const VARIABLE: &str = "LOMENT_VM";

/// Of a task's output, what is sent to the host.
const OUTPUT: usize = 64 << 10;

/// Runs the host's tasks and powers the machine off.
pub fn run() -> anyhow::Result<ExitCode> {
    if !Path::new("/etc/systemd/system/loment-tasks.service").exists() {
        bail!("vm-guest is what `cargo xtask vm-test` runs inside its machine, and would power this one off");
    }
    let result = serve();
    // At once: nothing here is kept, so nothing needs to be stopped or written.
    run::succeed(Command::new("systemctl").args(["poweroff", "--force", "--force"]))?;
    result.map(|()| ExitCode::SUCCESS)
}

fn serve() -> anyhow::Result<()> {
    let mut port = open_port()?;
    let mut input = BufReader::new(port.try_clone().context("share the port")?);
    // Whether all units are well is the tests' business.
    drop(Command::new("systemctl").args(["is-system-running", "--wait"]).stdout(Stdio::null()).status());
    say(&mut port, &Event::Up(description()))?;
    let mut line = String::new();
    input.read_line(&mut line).context("read the tasks")?;
    for task in parse_tasks(&line)? {
        say(&mut port, &Event::Ended(perform(&task)))?;
    }
    say(&mut port, &Event::Done)
}

fn say(port: &mut File, event: &Event) -> anyhow::Result<()> {
    port.write_all((event.line() + "\n").as_bytes()).context("write to the host")
}

/// The driver's module may not have been loaded yet.
fn open_port() -> anyhow::Result<File> {
    let path = Path::new("/dev/virtio-ports").join(PORT);
    for _ in 0..300 {
        if path.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("open {}", path.display()))
}

/// The kernel and the hierarchies of control groups.
fn description() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let count = |kind: &str| mounts.lines().filter(|l| l.split(' ').nth(2) == Some(kind)).count();
    format!("Linux {}, cgroup mounts: {} v2, {} v1", release.trim(), count("cgroup2"), count("cgroup"))
}

fn perform(task: &Task) -> Outcome {
    let start = Instant::now();
    let (status, output) = match attempt(task) {
        Ok(done) => done,
        Err(e) => (125, format!("{e:#}\n")),
    };
    Outcome { name: task.name.clone(), status, seconds: start.elapsed().as_secs_f64(), output }
}

fn attempt(task: &Task) -> anyhow::Result<(i32, String)> {
    // A file, not a pipe: what a task leaves running must not be waited for.
    let path = Path::new("/run/loment-task.output");
    let file = File::create(path).context("make a file for the output")?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", &task.seconds.to_string()]);
    if task.as_user {
        // A session such as one gets by logging in: with a group, a bus and a directory of its own.
        command.args(["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=user"]);
        command.args(["--property=PAMName=login", "--working-directory=/home/user"]);
        command.arg(format!("--setenv={VARIABLE}=1"));
    }
    command.args(&task.command).current_dir("/root").env("HOME", "/root").env(VARIABLE, "1");
    command.stdin(Stdio::null()).stdout(file.try_clone().context("share the file")?).stderr(file);
    let status = command.status().with_context(|| format!("start {}", run::shown(&command)))?;
    let bytes = fs::read(path).context("read the output")?;
    let last = &bytes[bytes.len().saturating_sub(OUTPUT)..];
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok((code, String::from_utf8_lossy(last).into_owned()))
}
