//! A shell in a real terminal: what is asked of it is what a person would see on the screen, after all that programs have done to it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Patience, World, run};

/// What the shell says when it waits for a command.
const PROMPT: &str = "host$ ";

/// A shell in tmux, with 24 lines and 80 columns, in which `l` is loment over a world's containers.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// A server of its own, which ends with this.
    pub fn start(world: &World) -> Self {
        let inner = world.command([""; 0]);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let words = words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ");
        let profile = world.write("profile", format!("l() {{ {words} \"$@\"; }}\nPS1='{PROMPT}'\n"));
        let tmux = Self { socket: world.path("tmux") };
        let mut start = tmux.command(&["new-session", "-d", "-x", "80", "-y", "24", "sh", "-i"]);
        start.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        start.env("ENV", profile).current_dir(world.path(""));
        run(&mut start, Patience::NORMAL).succeeds();
        tmux.waits();
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(arguments);
        command
    }

    #[track_caller]
    fn tell(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments), Patience::NORMAL).succeeds().to_owned()
    }

    /// Types text as it is.
    #[track_caller]
    pub fn types(&self, text: &str) {
        self.tell(&["send-keys", "-l", "--", text]);
    }

    /// Presses keys, by tmux's names: `Enter`, `C-c`.
    #[track_caller]
    pub fn presses(&self, keys: &[&str]) {
        self.tell(&[&["send-keys"], keys].concat());
    }

    /// Types a line and enters it.
    #[track_caller]
    pub fn enters(&self, line: &str) {
        self.types(line);
        self.presses(&["Enter"]);
    }

    /// Gives the terminal another size.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        self.tell(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is on the screen.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p", "-J"])
    }

    /// Waits until the screen is as is wanted.
    #[track_caller]
    pub fn until(&self, what: &str, is: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is(&self.screen()) {
            assert!(Instant::now() < end, "never: {what}; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a line of the screen is `line`.
    #[track_caller]
    pub fn shows(&self, line: &str) {
        self.until(line, |screen| screen.lines().any(|one| one.trim_end() == line));
    }

    /// Waits until the shell waits for a command: nothing comes after its prompt, which may be behind what others have left.
    #[track_caller]
    pub fn waits(&self) {
        let is = |screen: &str| screen.trim_end().ends_with(PROMPT.trim_end());
        self.until("the shell waits for a command", is);
    }

    /// Empties the screen.
    #[track_caller]
    pub fn clears(&self) {
        self.enters("clear");
        self.until("an empty screen", |screen| screen.trim_end() == PROMPT.trim_end());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        drop(self.command(&["kill-server"]).output());
    }
}
