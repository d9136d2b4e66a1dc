//! Handing on to a service manager what a container says of itself, and saying it for one that does not.

use std::io;
use std::time::Duration;

use loment_sys::clone::{CloneFlags, Fork, clone3};

use super::Monitor;
use crate::epoll::Token;
use crate::health::HealthStatus;
use crate::notify::{NotifyMode, Relay, Wait};
use crate::timers::Timer;
use crate::worker;

impl Monitor {
    /// Opens the way to the manager, if there is one.
    pub(super) fn open_relay(&mut self, slot: u32) -> io::Result<()> {
        let Some(c) = self.container(slot) else { return Ok(()) };
        let mode = c.head.supervision.notify.mode;
        let Some(manager) = c.head.notify.as_ref().filter(|_| mode != NotifyMode::Ignore) else {
            return Ok(());
        };
        c.relay = Some(Relay::open(manager, mode, &c.head.place.run_dir)?);
        self.relay(slot);
        Ok(())
    }

    /// Hands on what has come, as far as the manager takes it.
    pub(super) fn relay(&mut self, slot: u32) {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return };
        let Some(relay) = &mut c.relay else { return };
        let mut wait = relay.step(&self.epoll);
        if wait == Wait::Discard {
            relay.discards = discard(relay);
            // Without a process it is tried again.
            wait = if relay.discards.is_some() { Wait::Discarded } else { Wait::Pause };
        }
        // What cannot be watched is not handed on.
        let _ = relay.watch(&self.epoll, Token::Notify(slot), wait);
        match wait.limit() {
            Some(limit) => self.timers.set(Timer::Notify(slot), limit),
            None => self.timers.cancel(Timer::Notify(slot)),
        }
    }

    /// It was paused, or the manager has not said for long that it has read what came before.
    pub(super) fn relay_late(&mut self, slot: u32) {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return };
        let Some(relay) = &mut c.relay else { return };
        if relay.has_barrier() {
            relay.give_up(&self.epoll);
            relay.discards = discard(relay);
        }
        self.relay(slot);
    }

    /// Whether that was a process that threw a message away.
    pub(super) fn end_discard(&mut self, pid: i32) -> bool {
        let is_its = |c: &super::Supervised| c.relay.as_ref().is_some_and(|r| r.discards == Some(pid));
        let found = self.containers.iter().position(|c| c.as_ref().is_some_and(is_its));
        let Some(slot) = found.map(|slot| slot as u32) else { return false };
        if let Some(relay) = self.container(slot).and_then(|c| c.relay.as_mut()) {
            relay.discards = None;
        }
        self.relay(slot);
        true
    }

    /// The program of a container runs.
    pub(super) fn notify_start(&mut self, slot: u32) {
        self.notify_ready(slot, NotifyMode::Conmon);
    }

    /// A check of its health has told something.
    pub(super) fn notify_health(&mut self, slot: u32) {
        if self.container(slot).is_some_and(|c| c.checks.report.status == HealthStatus::Healthy) {
            self.notify_ready(slot, NotifyMode::Healthy);
        }
    }

    /// Says that it is ready, once, if that is for this to say.
    fn notify_ready(&mut self, slot: u32, mode: NotifyMode) {
        let Some(c) = self.container(slot) else { return };
        if c.head.supervision.notify.mode != mode || std::mem::replace(&mut c.was_ready, true) {
            return;
        }
        if let Some(relay) = &mut c.relay {
            relay.set_ready();
            self.relay(slot);
        }
    }

    /// Its program has ended: what it has said before is handed on before others hear of that.
    pub(super) fn finish_relay(&mut self, slot: u32) {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return };
        let Some(relay) = &mut c.relay else { return };
        relay.finish(&self.epoll);
        self.timers.set(Timer::Notify(slot), Duration::ZERO);
    }
}

/// A process that throws the next message away, with its descriptors.
fn discard(relay: &Relay) -> Option<i32> {
    let monitor = rustix::process::getpid();
    match clone3(CloneFlags::empty(), None) {
        Ok(Fork::Child) => {
            worker::end_with(monitor);
            relay.discard();
            loment_sys::process::exit_now(0)
        }
        Ok(Fork::Parent { pid, .. }) => Some(pid.as_raw_nonzero().get()),
        Err(_) => None,
    }
}
