//! What a monitor does later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// What is due, about the container of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It was asked to stop and has had its time.
    Kill(u32),
    /// It was killed and has not ended: somebody may have frozen it.
    KillGroup(u32),
    /// It is started again.
    Restart(u32),
    /// It has run as long as it may.
    Expire(u32),
    /// Its health is checked.
    Check(u32),
    /// A check has run as long as it may.
    CheckOver(u32),
    /// More of what it says to a service manager may be handed on.
    Notify(u32),
    /// Its clients have had their time to read their last messages.
    Part(u32),
}

impl Timer {
    fn slot(self) -> u32 {
        match self {
            Self::Kill(slot)
            | Self::KillGroup(slot)
            | Self::Restart(slot)
            | Self::Expire(slot)
            | Self::Check(slot)
            | Self::CheckOver(slot)
            | Self::Notify(slot)
            | Self::Part(slot) => slot,
        }
    }
}

/// Deadlines, and a descriptor that becomes readable when the first has passed.
#[derive(Debug)]
pub(crate) struct Timers {
    fd: OwnedFd,
    /// The first comes last.
    due: Vec<(Instant, Timer)>,
}

impl Timers {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Monotonic, flags)?, due: Vec::new() })
    }

    /// Sets one, instead of an equal one that is set already.
    pub(crate) fn set(&mut self, timer: Timer, after: Duration) {
        self.due.retain(|(_, other)| *other != timer);
        // Longer than any machine runs is never.
        let Some(at) = Instant::now().checked_add(after) else { return self.arm() };
        let place = self.due.partition_point(|(other, _)| *other > at);
        self.due.insert(place, (at, timer));
        self.arm();
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.due.retain(|(_, other)| *other != timer);
        self.arm();
    }

    /// Cancels whatever is due about a container.
    pub(crate) fn cancel_all(&mut self, slot: u32) {
        self.due.retain(|(_, timer)| timer.slot() != slot);
        self.arm();
    }

    /// The next of those that are due.
    pub(crate) fn next_due(&mut self) -> Option<Timer> {
        let due = self.due.pop_if(|(at, _)| *at <= Instant::now()).map(|(_, timer)| timer);
        if due.is_none() {
            // Which also takes back that it is readable.
            self.arm();
        }
        due
    }

    /// Tells the kernel when the first is due. It refuses nothing that is passed here.
    fn arm(&self) {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = self.due.last().map_or(none, |(at, _)| {
            let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let time = Itimerspec { it_interval: none, it_value };
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &time);
    }
}

impl AsFd for Timers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_their_order_and_a_cancelled_one_does_not() {
        let mut timers = Timers::new().unwrap();
        timers.set(Timer::Kill(1), Duration::from_millis(2));
        timers.set(Timer::Restart(1), Duration::from_millis(1));
        timers.set(Timer::Kill(2), Duration::ZERO);
        timers.set(Timer::Restart(2), Duration::ZERO);
        timers.set(Timer::Kill(3), Duration::from_secs(3600));
        timers.set(Timer::Expire(3), Duration::MAX);
        timers.cancel(Timer::Restart(2));
        std::thread::sleep(Duration::from_millis(5));
        let due: Vec<Timer> = std::iter::from_fn(|| timers.next_due()).collect();
        assert_eq!(due, [Timer::Kill(2), Timer::Restart(1), Timer::Kill(1)]);
        let mut count = [0; 8];
        assert!(rustix::io::read(&timers, &mut count).is_err(), "it is not readable for the next hour");
    }
}
