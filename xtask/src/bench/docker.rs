//! Docker's daemon for the benchmarks, beside nothing of the host's: data of its own, no bridge, no packet filter.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use crate::run::which;

/// Longer than it takes to start, with a containerd of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// `None`, and why is printed, where there is none or it cannot run.
    pub(super) fn start(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let (Some(program), Some(_)) = (which("dockerd"), which("docker")) else {
            println!("docker: not measured, not installed");
            return Ok(None);
        };
        let dir = bench.path("dockerd");
        std::fs::create_dir(&dir).context("make a directory for dockerd")?;
        std::fs::write(dir.join("daemon.json"), "{}").context("configure dockerd")?;
        let log = dir.join("log");
        let mut daemon = Command::new(program);
        for (flag, name) in [("--data-root", "data"), ("--pidfile", "pid"), ("--config-file", "daemon.json")]
        {
            daemon.arg(flag).arg(dir.join(name));
        }
        daemon.arg("--exec-root").arg(bench.run_path("dockerd"));
        let socket = dir.join("sock");
        daemon.arg("--host").arg(format!("unix://{}", socket.display()));
        daemon.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        daemon.args(["--ip-masq=false", "--storage-driver", "overlay2", "--group", "root"]);
        let said = File::create(&log).context("make dockerd's log")?;
        let child = daemon.stdout(Stdio::null()).stderr(said).spawn().context("start dockerd")?;
        let mut daemon = Self { child, socket };
        let end = Instant::now() + PATIENCE;
        while !daemon.answers() {
            if daemon.child.try_wait().context("look at dockerd")?.is_some() || Instant::now() > end {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                println!("docker: not measured, {}", said.lines().last().unwrap_or("it says nothing"));
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(daemon))
    }

    fn answers(&self) -> bool {
        let mut version = Command::new("docker");
        version.args(self.globals()).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    }

    /// What comes before a command.
    pub(super) fn globals(&self) -> Vec<String> {
        vec!["--host".to_owned(), format!("unix://{}", self.socket.display())]
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
