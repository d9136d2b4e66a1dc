//! Running programs to their end, but not longer than a test's patience.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for a program.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Patience {
    /// For commands of the binary.
    pub const NORMAL: Self = Self(Duration::from_secs(60));
    /// For making images.
    pub const LONG: Self = Self(Duration::from_secs(240));
}

/// How a program ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command as one would type it.
    pub command: String,
    /// Standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status, 128 + n for a signal.
    pub code: i32,
}

impl Output {
    /// Standard output without the last line end.
    #[track_caller]
    pub fn succeeds(&self) -> &str {
        assert_eq!(self.code, 0, "{self}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// Standard error of a command that must end with `code`; its own errors are one line.
    #[track_caller]
    pub fn fails(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self}");
        self.stderr.strip_suffix('\n').unwrap_or(&self.stderr)
    }

    /// As [`Output::fails`], where the message must be a single line that contains each of `words`. What was announced
    /// before the failure is not part of it.
    #[track_caller]
    pub fn fails_saying(&self, code: i32, words: &[&str]) {
        let mut lines = self.fails(code).lines().filter(|l| !l.starts_with("Trying to pull "));
        let message = lines.next().unwrap_or_default();
        assert_eq!(lines.next(), None, "one clear line is wanted\n{self}");
        for word in words {
            assert!(message.contains(word), "the message does not mention {word:?}\n{self}");
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\nstatus {}\nstdout:\n{}\nstderr:\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

/// How much longer everything takes: where `cargo xtask vm-test` runs us, the processor is emulated.
fn slowness() -> u32 {
    if std::env::var_os("LOMENT_VM").is_some() { 4 } else { 1 }
}

/// Runs with nothing on standard input.
#[track_caller]
pub fn run(command: &mut Command, patience: Patience) -> Output {
    run_with_input(command, b"", patience)
}

/// Runs with `input` on standard input. Panics when the program does not end in time, or when something it started
/// keeps its output open after its end.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8], patience: Patience) -> Output {
    match try_run(command, input, patience) {
        Ok(output) => output,
        Err(e) => panic!("{e}"),
    }
}

/// As [`run_with_input`], with what would be a panic as text.
pub(crate) fn try_run(command: &mut Command, input: &[u8], patience: Patience) -> Result<Output, String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("start {shown}: {e}"))?;
    let mut stdin = child.stdin.take().expect("asked for");
    let input = input.to_vec();
    // A program need not read all of its input.
    thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = read(child.stdout.take().expect("asked for"));
    let stderr = read(child.stderr.take().expect("asked for"));
    let Some(code) = wait(&mut child, patience) else {
        let partial =
            |r: &mpsc::Receiver<Vec<u8>>| text(r.recv_timeout(Duration::from_secs(1)).unwrap_or_default());
        let (stdout, stderr) = (partial(&stdout), partial(&stderr));
        return Err(format!("{shown}: not done after {:?}\nstdout: {stdout}\nstderr: {stderr}", patience.0));
    };
    let whole = |r: mpsc::Receiver<Vec<u8>>, what: &str| match r.recv_timeout(Duration::from_secs(5)) {
        Ok(bytes) => Ok(text(bytes)),
        Err(_) => Err(format!("{shown}: ended with {code}, but something keeps its {what} open")),
    };
    let stdout = whole(stdout, "standard output")?;
    let stderr = whole(stderr, "standard error")?;
    Ok(Output { command: shown, stdout, stderr, code })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn read(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends what can be read.
        drop(from.read_to_end(&mut bytes));
        drop(sender.send(bytes));
    });
    receiver
}

/// The exit status, or none when the patience ended; then the program has been killed.
fn wait(child: &mut Child, patience: Patience) -> Option<i32> {
    let end = Instant::now() + patience.0 * slowness();
    loop {
        let status = child.try_wait().expect("a child can be waited for");
        if let Some(status) = status {
            return Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
        }
        if Instant::now() > end {
            drop(child.kill());
            drop(child.wait());
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
