//! The user's own terminal.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode, left again when this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// Puts standard input's terminal into raw mode; `None` when it is none.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !rustix::termios::isatty(&stdin) {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Rows and columns of the user's terminal, from whichever standard stream is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout())
        .or_else(|_| tcgetwinsize(std::io::stdin()))
        .or_else(|_| tcgetwinsize(std::io::stderr()))
        .ok()?;
    (size.ws_row != 0).then_some((size.ws_row, size.ws_col))
}

/// Asks for a line at standard input's terminal that is not shown.
///
/// # Errors
/// Standard input is no terminal.
pub(crate) fn read_password(prompt: &str) -> io::Result<String> {
    struct Restore(Termios);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _restore = Restore(before);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    // Not before: who is quick would see what they type.
    let mut out = io::stdout();
    io::Write::write_all(&mut out, prompt.as_bytes())?;
    io::Write::flush(&mut out)?;
    let mut line = String::new();
    io::BufRead::read_line(&mut stdin.lock(), &mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
