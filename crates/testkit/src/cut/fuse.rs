//! A FUSE server for one file, which is the mount itself (linux/fuse.h). It needs no library and no other program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::mount::{MountFlags, mount};

use super::Log;

const MAX_WRITE: usize = 1 << 20;
const IN_HEADER: usize = 40;
const ENOSYS: i32 = 38;

/// Mounts the file on `at`, a file, and serves it until it is unmounted.
pub(super) fn serve(at: &Path, log: Arc<Mutex<Log>>) -> io::Result<JoinHandle<()>> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    // The root is a regular file, which allows to mount on one.
    let options =
        format!("fd={},rootmode=100000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
    let options = std::ffi::CString::new(options)?;
    mount("loment-test", at, "fuse", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))?;
    Ok(std::thread::spawn(move || answer_all(&device, &log)))
}

fn answer_all(mut device: &File, log: &Mutex<Log>) {
    let mut buffer = vec![0; MAX_WRITE + 4096];
    loop {
        let length = match device.read(&mut buffer) {
            Ok(length) if length >= IN_HEADER => length,
            Err(error) if matches!(error.raw_os_error(), Some(2 | 4 | 11)) => continue, // interrupted
            // Unmounted.
            _ => return,
        };
        let request = Request(&buffer[..length]);
        let Some(answer) = request.answer(log) else { continue };
        let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let mut out = Vec::with_capacity(16 + body.len());
        out.extend_from_slice(&(16 + body.len() as u32).to_le_bytes());
        out.extend_from_slice(&error.to_le_bytes());
        out.extend_from_slice(&request.u64(8).to_le_bytes());
        out.extend_from_slice(&body);
        // The one who asked may be gone.
        let _ = device.write_all(&out);
    }
}

/// Numbers one after the other.
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

/// A request, header and all.
struct Request<'b>(&'b [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    /// `None` for requests that have no answer.
    fn answer(&self, log: &Mutex<Log>) -> Option<Result<Vec<u8>, i32>> {
        let mut log = log.lock().expect("nobody panics with it");
        let out = || Fields(Vec::new());
        Some(Ok(match self.u32(4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            // GETATTR, SETATTR
            3 | 4 => attributes(log.content.len() as u64),
            // OPEN, past the page cache: what is written is seen as it is written
            14 => out().u64(1).u32(1).u32(0).0,
            // READ
            15 => {
                let (at, count) = (self.u64(IN_HEADER + 8) as usize, self.u32(IN_HEADER + 16) as usize);
                let end = (at + count).min(log.content.len());
                log.content.get(at..end).unwrap_or_default().to_vec()
            }
            // WRITE
            16 => {
                let (at, count) = (self.u64(IN_HEADER + 8), self.u32(IN_HEADER + 16));
                log.write(at, &self.0[IN_HEADER + 40..IN_HEADER + 40 + count as usize]);
                out().u32(count).u32(0).0
            }
            // STATFS
            17 => out().zeros(40).u32(4096).u32(255).u32(4096).zeros(28).0,
            // FSYNC
            20 => {
                log.flush();
                Vec::new()
            }
            // RELEASE, FLUSH (of close(2), which flushes nothing), DESTROY
            18 | 25 | 38 => Vec::new(),
            // INIT
            26 => {
                const BIG_WRITES_AND_MAX_PAGES: u32 = 1 << 5 | 1 << 22;
                let flags = self.u32(IN_HEADER + 12) & BIG_WRITES_AND_MAX_PAGES;
                let out = out().u32(7).u32(31).u32(0).u32(flags).u16(16).u16(12);
                out.u32(MAX_WRITE as u32).u32(1).u16(256).zeros(34).0
            }
            _ => return Some(Err(ENOSYS)),
        }))
    }
}

/// `struct fuse_attr_out` of the file.
fn attributes(size: u64) -> Vec<u8> {
    let out = Fields(Vec::new()).u64(3600).u64(0).u64(1).u64(size).u64(size / 512);
    // Times, then mode, links, owner, group, device, block size, flags.
    out.zeros(36).u32(0o100_600).u32(1).zeros(12).u32(4096).u32(0).0
}
