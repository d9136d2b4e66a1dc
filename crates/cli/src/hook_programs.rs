//! Programs that may change a container's specification before it is made: hooks of the stage `precreate`.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use loment_image::conf::HookProgram;
use loment_sys::wait::wait_exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::programs::start_hook;

/// No specification is longer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Runs one with a specification on standard input; what it prints is the specification then.
pub(crate) fn run(program: &HookProgram, spec: &[u8]) -> Result<Vec<u8>, String> {
    let told = |e: std::io::Error| crate::error::without_numbers(&e.to_string());
    // Into memory both: it may write before it has read, and nobody has to wait for the other.
    let memory =
        |name: &str| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from).map_err(|e| told(e.into()));
    let (mut input, mut output) = (memory("specification")?, memory("answer")?);
    input.write_all(spec).and_then(|()| input.rewind()).map_err(told)?;
    let child =
        start_hook(program, [input.as_fd(), output.as_fd(), rustix::stdio::stderr()]).map_err(told)?;
    wait(&child, program.timeout)?;
    let exit = wait_exit(&child).map_err(told)?;
    if exit.status() != 0 {
        return Err(format!("it failed with status {}", exit.status()));
    }
    let mut answer = Vec::new();
    output.rewind().map_err(told)?;
    let length = output.take(MAX_ANSWER + 1).read_to_end(&mut answer).map_err(told)? as u64;
    match length > MAX_ANSWER {
        true => Err(format!("it printed more than {MAX_ANSWER} bytes")),
        false => Ok(answer),
    }
}

/// Until it ends; one that takes too long is killed.
fn wait(child: &OwnedFd, seconds: Option<u32>) -> Result<(), String> {
    let Some(seconds) = seconds.filter(|&seconds| seconds > 0) else { return Ok(()) };
    let deadline = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(child, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let _ = loment_sys::process::pidfd_signal(child.as_fd(), 9);
                let _ = wait_exit(child);
                return Err(format!("it did not end within {seconds} s"));
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        }
    }
}
