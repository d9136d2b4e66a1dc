//! Checking a container's health: when, and what is done about it.

use std::time::{Duration, Instant};

use loment_events::{What, more};
use loment_runtime::Cause;
use loment_sys::wait::Exit;

use super::{Monitor, free};
use crate::health::{Checks, FILE, Health, HealthResult, OnFailure, Outcome};
use crate::protocol::{Answer, Exec, Stop};
use crate::session::Capture;
use crate::timers::Timer;
use crate::{now_rfc3339, worker};

/// The longest output that is kept where everything is to be kept, in bytes.
const MOST_OUTPUT: usize = 1 << 20;
const SIGKILL: i32 = 9;
/// When a check is tried again that could not be made.
const LATER: Duration = Duration::from_secs(1);

impl Monitor {
    /// The container runs: its health is not known.
    pub(super) fn begin_checks(&mut self, slot: u32) {
        let Some(c) = self.container(slot) else { return };
        c.checks = Checks::default();
        let Some(health) = &c.head.supervision.health else { return };
        let automatic = c.checks.wait(health, Duration::ZERO).is_some();
        self.write_health(slot);
        if automatic {
            self.timers.set(Timer::Check(slot), Duration::ZERO);
        }
    }

    /// Runs the next check, unless one runs.
    pub(super) fn check(&mut self, slot: u32) {
        let Some(pid) = self.running(slot) else { return };
        let Some(c) = self.container(slot) else { return };
        let (Some(health), None) = (&c.head.supervision.health, c.check) else { return };
        let (test, timeout) = c.checks.next(health);
        let request = Exec { args: test.to_vec(), ..Exec::default() };
        let most = if health.log.size == 0 { MOST_OUTPUT } else { health.log.size as usize };
        let n = free(&mut self.sessions);
        let spawned = self.spawn(n, slot, false, false, |monitor, setup| {
            let c = monitor.containers[slot as usize].as_ref().expect("it is running");
            worker::check(&c.document, &c.head.place, pid, &request, setup)
        });
        if let Some(session) = self.session(n).filter(|_| spawned.is_ok()) {
            session.capture = Some(Capture { start: now_rfc3339(), output: Vec::new(), most });
            self.timers.set(Timer::CheckOver(slot), timeout);
            if let Some(c) = self.container(slot) {
                c.check = Some(n);
            }
        } else {
            self.timers.set(Timer::Check(slot), LATER);
        }
    }

    /// The record was changed: what is checked, and when, may be other.
    pub(super) fn reread(&mut self, client: u32, slot: u32) {
        let running = self.running(slot).is_some();
        let Some(c) = self.container(slot) else { return self.drop_client(client) };
        let before = c.head.supervision.health.clone();
        if !c.reread() {
            let message = "the container's record cannot be read".to_owned();
            return self.send(client, &Answer::Failed { cause: Cause::Setup, message });
        }
        if running && c.head.supervision.health != before {
            c.stale_check = c.check.is_some();
            self.timers.cancel(Timer::Check(slot));
            self.end_check(slot);
            self.begin_checks(slot);
        }
        self.send(client, &Answer::Exited { status: 0 });
    }

    /// A client wants the result of a check: of the one that runs, or of one that is run for it.
    pub(super) fn check_for(&mut self, client: u32, slot: u32) {
        let has_check = self.container(slot).is_some_and(|c| c.head.supervision.health.is_some());
        if has_check {
            self.check(slot);
        }
        match self.container(slot).and_then(|c| c.check) {
            Some(n) => {
                if let Some(c) = self.clients[client as usize].as_mut() {
                    c.session = Some(n);
                }
            }
            None => {
                let message = match has_check {
                    true => "the container is not running",
                    false => "the container has no defined healthcheck",
                };
                self.send(client, &Answer::Failed { cause: Cause::Setup, message: message.into() });
            }
        }
    }

    /// A check has had its time.
    pub(super) fn end_check(&mut self, slot: u32) {
        let check = self.container(slot).and_then(|c| c.check);
        let Some(session) = check.and_then(|n| self.session(n)) else { return };
        session.overdue = true;
        let worker = session.worker_pid.filter(|_| session.worker.is_some());
        if let Some(pid) = session.pid.filter(|_| session.exit.is_none()).or(worker) {
            let _ = loment_sys::process::kill(pid, 9);
        }
    }

    /// A check has ended, or could not be made.
    pub(super) fn checked(&mut self, slot: u32, capture: Capture, end: Checked, overdue: bool) {
        self.timers.cancel(Timer::CheckOver(slot));
        let running = self.running(slot).is_some();
        let Some(c) = self.container(slot) else { return };
        c.check = None;
        let stale = std::mem::take(&mut c.stale_check);
        // What ended with its container says nothing.
        if !running {
            return;
        }
        // A stop kills what still runs in the container before its first process is seen to end.
        if c.stopped && matches!(end, Checked::Ended(Exit::Signal(SIGKILL))) && !overdue {
            return self.end_unchecked(slot);
        }
        if stale {
            self.timers.set(Timer::Check(slot), Duration::ZERO);
            return;
        }
        let ran = c.started.map_or(Duration::ZERO, |at: Instant| at.elapsed());
        let Some(health) = c.head.supervision.health.clone() else { return };
        let output = String::from_utf8_lossy(&capture.output).into_owned();
        let (exit_code, output) = match end {
            Checked::Skipped => {
                self.timers.set(Timer::Check(slot), LATER);
                return;
            }
            _ if overdue => (-1, format!("Health check exceeded timeout: {output}")),
            Checked::Ended(exit) => (exit.status(), output),
            Checked::Failed(message) => (126, message),
        };
        let result = HealthResult { start: capture.start, end: now_rfc3339(), exit_code, output };
        let outcome = c.checks.note(&health, result, ran);
        if let Some(wait) = c.checks.wait(&health, ran) {
            self.timers.set(Timer::Check(slot), wait);
        }
        self.write_health(slot);
        self.notify_health(slot);
        if outcome != Outcome::Same && !health.log.quiet || health.log.events {
            self.tell_of_health(slot);
        }
        if let Outcome::Failed(action) = outcome {
            self.act_on_failure(slot, action);
        }
    }

    /// The container has ended while it was checked.
    pub(super) fn end_unchecked(&mut self, slot: u32) {
        if let Some(c) = self.container(slot) {
            c.checks.note_end();
        }
        self.write_health(slot);
    }

    fn tell_of_health(&self, slot: u32) {
        let Some(Some(c)) = self.containers.get(slot as usize) else { return };
        let (status, streak) = (c.checks.report.status.name(), c.checks.report.failing_streak);
        self.tell_of(slot, |of| {
            let event = of.event(What::HealthStatus).with(more::HEALTH_STATUS, status);
            vec![event.with(more::HEALTH_STREAK, streak)]
        });
    }

    fn act_on_failure(&mut self, slot: u32, action: OnFailure) {
        let Some(c) = self.container(slot) else { return };
        let supervision = &c.head.supervision;
        let stop = Stop {
            signal: supervision.stop_signal,
            timeout: Some(supervision.stop_timeout),
            ..Stop::default()
        };
        match action {
            OnFailure::None => {}
            OnFailure::Kill => self.kill(slot),
            OnFailure::Stop => self.stop(slot, &stop),
            OnFailure::Restart => self.start_again(slot, &stop),
        }
    }

    /// Writes what is known, for whoever looks. In the run directory that needs no waiting for a disk.
    fn write_health(&self, slot: u32) {
        let Some(Some(c)) = self.containers.get(slot as usize) else { return };
        let write = || -> std::io::Result<()> {
            let (new, path) = (c.head.place.run_dir.join(".health"), c.head.place.run_dir.join(FILE));
            std::fs::write(&new, serde_json::to_vec(&c.checks.report)?)?;
            std::fs::rename(new, path)
        };
        // What cannot be written is not shown; checks go on.
        let _ = write();
        if let Some(Health { log, .. }) = &c.head.supervision.health
            && let Some(directory) = &log.directory
        {
            worker::copy_health(&c.head.place, directory, &c.checks.report);
        }
    }
}

/// How a check came to its end.
#[derive(Debug)]
pub(super) enum Checked {
    /// Its program ended.
    Ended(Exit),
    /// It could not be started.
    Failed(String),
    /// The container is paused.
    Skipped,
}
