//! Waiting for a program in the foreground: signals are handed on, its terminal is shown.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use loment_runtime::Created;
use loment_sys::signal::{self, SignalSet};
use loment_sys::wait::Exit;
use rustix::event::{PollFd, PollFlags, poll};

use super::console::Console;
use super::notify::Relay;

const SIGWINCH: i32 = 28;
/// Signals that are about this process itself: faults, its children, its pipes, job control, and those nobody can catch.
const OWN: [i32; 14] = [4, 5, 7, 8, 9, 11, 13, 17, 18, 19, 20, 21, 22, 31];

/// From before the program is made, so that no signal is lost.
#[derive(Debug)]
pub(crate) struct Session {
    signals: OwnedFd,
}

impl Session {
    /// Signals wait from now on; children must reset their mask, as containers' do.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let all = 1..=signal::max_signal();
        let set = SignalSet::of(&all.filter(|s| !OWN.contains(s)).collect::<Vec<_>>());
        let begin = || -> io::Result<OwnedFd> {
            signal::set_mask(&set)?;
            signal::signal_fd(&set)
        };
        Ok(Self { signals: begin().context("watch signals")? })
    }

    /// Waits for the program's end.
    pub(crate) fn wait(self, mut created: Created, relay: Option<Relay>) -> anyhow::Result<Exit> {
        let console = created.terminal.take().map(Console::new).transpose();
        let mut console = console.context("show the terminal")?;
        let mut relay = relay;
        loop {
            let ready =
                self.poll(&created, console.as_ref(), relay.as_ref()).context("wait for the program")?;
            if ready.signal {
                self.hand_on(&created, console.as_ref());
            }
            if let Some(console) = &mut console {
                if ready.writable {
                    console.type_pending();
                }
                if ready.shown {
                    console.show();
                }
                if ready.typed {
                    console.take_input();
                }
            }
            if ready.notified
                && let Some(r) = &relay
                && r.relay(std::process::id() as i32)?
            {
                relay = None;
            }
            if ready.ended {
                let exit = loment_sys::wait::wait_exit(&created.pidfd).context("wait for the program")?;
                if let Some(console) = &mut console {
                    console.show_rest();
                }
                return Ok(exit);
            }
        }
    }

    fn hand_on(&self, created: &Created, console: Option<&Console>) {
        while let Ok(Some(number)) = signal::take_signal(self.signals.as_fd()) {
            match console {
                Some(console) if number == SIGWINCH => console.resize(),
                // One that has just ended needs no signal.
                _ => drop(loment_sys::process::pidfd_signal(created.pidfd.as_fd(), number)),
            }
        }
    }

    fn poll(&self, created: &Created, console: Option<&Console>, relay: Option<&Relay>) -> io::Result<Ready> {
        let stdin = std::io::stdin();
        let mut fds =
            vec![PollFd::new(&created.pidfd, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let (mut primary, mut typed, mut notified) = (None, None, None);
        if let Some(console) = console {
            if console.output || console.has_pending() {
                let mut wanted = PollFlags::empty();
                wanted.set(PollFlags::IN, console.output);
                wanted.set(PollFlags::OUT, console.has_pending());
                primary = Some(fds.len());
                fds.push(PollFd::new(console.primary(), wanted));
            }
            if console.takes_input() {
                typed = Some(fds.len());
                fds.push(PollFd::new(&stdin, PollFlags::IN));
            }
        }
        if let Some(relay) = relay {
            notified = Some(fds.len());
            fds.push(PollFd::from_borrowed_fd(relay.fd(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(e) => return Err(e.into()),
        }
        let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let has = |index: Option<usize>, what| index.is_some_and(|i| fds[i].revents().intersects(what));
        Ok(Ready {
            ended: has(Some(0), any),
            signal: has(Some(1), any),
            shown: has(primary, any),
            writable: has(primary, PollFlags::OUT),
            typed: has(typed, any),
            notified: has(notified, any),
        })
    }
}

#[derive(Debug, Default)]
struct Ready {
    ended: bool,
    signal: bool,
    shown: bool,
    writable: bool,
    typed: bool,
    notified: bool,
}
