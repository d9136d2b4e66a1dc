//! A program at a real terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program whose controlling terminal we hold the other end of.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Starts `command` at a new terminal of 24 lines and 80 columns.
    pub fn start(command: &Command) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("make a terminal");
        grantpt(&master).expect("own the terminal");
        unlockpt(&master).expect("unlock the terminal");
        let name =
            ptsname(&master, Vec::new()).expect("name the terminal").into_string().expect("/dev/pts/N");
        let slave = File::options().read(true).write(true).open(name).expect("open the terminal");
        let master = File::from(master);
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("size the terminal");
        // setsid: a session of its own, with its standard input as controlling terminal.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.env_clear().envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        if let Some(dir) = command.get_current_dir() {
            session.current_dir(dir);
        }
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor can be copied"));
        let child = session.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("start setsid");
        drop(session);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut from = master.try_clone().expect("a descriptor can be copied");
        let to = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            // The kernel reports the end of a terminal as an error.
            while let Ok(n) = from.read(&mut part)
                && n > 0
            {
                to.lock().expect("nobody panics with the lock").extend_from_slice(&part[..n]);
            }
        });
        Self { child, master, seen, reader }
    }

    /// Types.
    #[track_caller]
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type");
    }

    /// Everything that has been on the screen.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("nobody panics with the lock")).into_owned()
    }

    /// Waits until `text` has been on the screen.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.screen().contains(text) {
            assert!(Instant::now() < end, "{text:?} does not appear; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("size the terminal");
    }

    /// Waits for the end of the program and returns its exit status.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                // What it wrote last is on its way. Others may keep the terminal.
                let end = Instant::now() + Duration::from_secs(1);
                while !self.reader.is_finished() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "does not end; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process at the terminal.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
