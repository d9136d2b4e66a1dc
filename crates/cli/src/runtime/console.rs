//! A program's terminal, shown on ours.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{Winsize, tcsetwinsize};

use crate::terminal::{self, RawMode};

/// The most that waits to be typed.
const PENDING: usize = 64 * 1024;

/// The primary side of a program's terminal, and what is on its way there.
#[derive(Debug)]
pub(crate) struct Console {
    primary: OwnedFd,
    /// Typed, but not taken by the terminal yet.
    pending: Vec<u8>,
    pub(crate) input: bool,
    pub(crate) output: bool,
    _raw: Option<RawMode>,
}

impl Console {
    /// Puts our terminal into raw mode while this lives, if there is one.
    pub(crate) fn new(primary: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&primary, true)?;
        let raw = RawMode::enter()?;
        let console = Self { primary, pending: Vec::new(), input: true, output: true, _raw: raw };
        console.resize();
        Ok(console)
    }

    pub(crate) fn primary(&self) -> &OwnedFd {
        &self.primary
    }

    /// Whether something waits to be written to the program's terminal.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether more may be read from standard input.
    pub(crate) fn takes_input(&self) -> bool {
        self.input && self.pending.len() < PENDING
    }

    /// Gives the program's terminal the size of ours.
    pub(crate) fn resize(&self) {
        if let Some((rows, columns)) = terminal::size() {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            // A terminal without a program keeps its size.
            let _ = tcsetwinsize(&self.primary, size);
        }
    }

    /// Shows what the program has written.
    pub(crate) fn show(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match rustix::io::read(&self.primary, &mut buffer) {
            Ok(n) if n > 0 => self.output = write_all(&buffer[..n]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The last program that had it open is gone.
            Ok(_) | Err(_) => self.output = false,
        }
    }

    /// Shows what is left after the program's end.
    pub(crate) fn show_rest(&mut self) {
        // What others in the container still write is not waited for.
        for _ in 0..1024 {
            let mut buffer = [0; 16 * 1024];
            match rustix::io::read(&self.primary, &mut buffer) {
                Ok(n) if n > 0 && write_all(&buffer[..n]) => {}
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// Takes what was typed.
    pub(crate) fn take_input(&mut self) {
        let mut buffer = [0; 4096];
        match rustix::io::read(std::io::stdin().as_fd(), &mut buffer) {
            Ok(n) if n > 0 => self.pending.extend_from_slice(&buffer[..n]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => self.input = false,
        }
        self.type_pending();
    }

    /// Writes what the terminal takes.
    pub(crate) fn type_pending(&mut self) {
        match rustix::io::write(&self.primary, &self.pending) {
            Ok(n) => drop(self.pending.drain(..n)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }
}

/// `false` when nobody reads our standard output.
fn write_all(mut data: &[u8]) -> bool {
    let out = std::io::stdout();
    while !data.is_empty() {
        match rustix::io::write(out.as_fd(), data) {
            Ok(n) => data = &data[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let mut fds = [rustix::event::PollFd::new(&out, rustix::event::PollFlags::OUT)];
                if rustix::event::poll(&mut fds, None).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}
