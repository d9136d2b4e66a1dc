//! Ending a container that is asked to.

use std::time::Duration;

use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::wait::Exit;

use super::Monitor;
use super::container::Stage;
use crate::groups;
use crate::protocol::Stop;
use crate::state::STOPPING;
use crate::timers::Timer;

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
/// How long one has, in seconds, that was sent a signal before its program ran.
const STARTING: u32 = 10;
/// How long a killed process may take before its whole group is killed, which also thaws it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Monitor {
    /// A client asked that a container end.
    pub(super) fn stop(&mut self, slot: u32, request: &Stop) {
        let Some(c) = self.container(slot) else { return };
        c.stopped = true;
        if request.keep {
            c.head.place.removal = None;
        }
        if matches!(c.stage, Stage::Waiting) {
            return self.end_now(slot);
        }
        self.let_go(slot, Exit::Code(0));
        let Some(pid) = self.running(slot) else {
            // It is being started, and ends as soon as it runs; or it has ended.
            return self.stop_later(slot, request);
        };
        // What waits to run a program does not know what others ask of that.
        if request.timeout == Some(0) || self.container(slot).is_some_and(|c| c.prepared) {
            return self.kill(slot);
        }
        // Without a time, it may be a signal like others (see `kill` in the engine): who means a stop says so.
        if request.timeout.is_some() {
            self.note_stopping(slot);
        }
        let _ = loment_sys::process::kill(pid, request.signal);
        if let Some(seconds) = request.timeout {
            self.timers.set(Timer::Kill(slot), Duration::from_secs(seconds.into()));
        }
    }

    /// The monitor was sent a signal. One that asks it to end ends the container for good, whatever its policy is: a machine that shuts
    /// down sends SIGTERM to everything, and waits until it has ended. To `system boot` it is one that nobody has stopped.
    pub(super) fn pass_on(&mut self, slot: u32, signal: i32) {
        let running = self.running(slot);
        let Some(c) = self.container(slot) else { return };
        if signal == SIGHUP {
            // `systemctl reload` of a service whose main process the monitor is.
            return drop(running.map(|pid| loment_sys::process::kill(pid, signal)));
        }
        c.ending = true;
        if matches!(c.stage, Stage::Waiting) {
            return self.end_now(slot);
        }
        let prepared = c.prepared;
        self.let_go(slot, Exit::Signal(signal));
        match running {
            Some(_) if prepared => self.kill(slot),
            Some(pid) => drop(loment_sys::process::kill(pid, signal)),
            None => self.stop_later(slot, &Stop { signal, timeout: Some(STARTING), keep: false }),
        }
    }

    /// Says, to whoever looks, that it was asked to end. What cannot be written is not shown.
    fn note_stopping(&mut self, slot: u32) {
        if let Some(c) = self.container(slot) {
            let _ = std::fs::write(c.head.place.run_dir.join(STOPPING), "");
        }
    }

    /// Stops it, and starts it again when it has ended.
    pub(super) fn start_again(&mut self, slot: u32, request: &Stop) {
        let was_stopped = self.container(slot).is_some_and(|c| c.stopped);
        self.stop(slot, request);
        if let Some(c) = self.container(slot) {
            (c.stopped, c.start_again) = (was_stopped, true);
        }
    }

    fn stop_later(&mut self, slot: u32, request: &Stop) {
        if let Some(c) = self.container(slot).filter(|c| matches!(c.stage, Stage::Active)) {
            c.stop_when_started = Some(request.clone());
        }
    }

    /// Its time is over.
    pub(super) fn expire(&mut self, slot: u32) {
        if let Some(c) = self.container(slot) {
            c.expired = true;
        }
        self.kill(slot);
    }

    /// Kills its first process, and with it all others.
    pub(super) fn kill(&mut self, slot: u32) {
        self.let_go(slot, Exit::Signal(SIGKILL));
        if let Some(pid) = self.running(slot) {
            let _ = loment_sys::process::kill(pid, SIGKILL);
            self.timers.set(Timer::KillGroup(slot), PATIENCE);
        }
    }

    /// It was killed and is still there: in a worker, since a group may take its time.
    pub(super) fn kill_group(&mut self, slot: u32) {
        let Some(c) = self.container(slot) else { return };
        if let Ok(Fork::Child) = clone3(CloneFlags::empty(), None) {
            groups::kill(&c.head.place);
            loment_sys::process::exit_now(0)
        }
    }
}
