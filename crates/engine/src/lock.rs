//! The locks of containers, pods, volumes and secrets, which serialise changes of their lives: those of their directories (flock(2)).
//!
//! Who has the lock of a volume or a secret waits for no container.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use loment_cgroup::{CgroupPath, Host};
use loment_sys::fd::is_at;

use crate::container::{cgroup_name, monitor_cgroup_name};
use crate::error::Context;
use crate::{Engine, Error};

/// How long a change waits for another. A start holds the lock until the program runs, and has much to do with a large image.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The same of a removal by force, which then ends what holds it.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a directory is made anew that others have taken for a killed program's.
const TRIES: u32 = 16;

/// Makes a directory, and locks it before anybody takes it for the leftover of a program that was killed.
pub(crate) fn make_locked(dir: &Path, busy: impl Fn() -> Error) -> Result<File, Error> {
    for _ in 0..TRIES {
        std::fs::create_dir_all(dir).context("create", dir.display())?;
        match lock_dir(dir, PATIENCE, &busy) {
            Ok(lock) if is_at(&lock, dir) => return Ok(lock),
            // Whoever sweeps took it for such a one before it was locked.
            Ok(_) => {}
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::from(rustix::io::Errno::AGAIN)).context("make", dir.display())
}

impl Engine {
    /// Waits until nobody else changes a container. To be held for moments, never while waiting for a program to end.
    ///
    /// # Errors
    /// [`Error::Busy`]; [`Error::Io`] also when there is no such container.
    pub(crate) fn lock(&self, id: &str) -> Result<File, Error> {
        self.lock_within(id, PATIENCE)
    }

    /// The same, and ends a start that does not come to its end.
    pub(crate) fn lock_by_force(&self, id: &str) -> Result<File, Error> {
        match self.lock_within(id, SHORT_PATIENCE) {
            Err(Error::Busy { .. }) => {
                self.kill_tree(id).context("end", "the monitor")?;
                let host = Host::detect_tracking()?;
                // Its monitor and that one's workers hold the lock; what they have made so far is in the other group.
                let known = self.load(id).ok().flatten().map(|container| self.place(&container.config));
                let (monitor, own) = known.map_or((None, None), |place| (place.monitor_cgroup, place.cgroup));
                let monitor = monitor.unwrap_or_else(|| monitor_cgroup_name(id));
                for name in [monitor, own.unwrap_or_else(|| cgroup_name(id))] {
                    let group = host.cgroup(CgroupPath::new(&name)?);
                    if group.exists() {
                        group.kill()?;
                    }
                }
                self.lock_within(id, SHORT_PATIENCE)
            }
            lock => lock,
        }
    }

    fn lock_within(&self, id: &str, patience: Duration) -> Result<File, Error> {
        let busy = || Error::Busy { id: id.to_owned(), seconds: patience.as_secs() };
        lock_dir(&self.dir(id), patience, busy)
    }

    /// Waits until nobody else changes a volume, which is for moments; `None` when there is none.
    pub(crate) fn lock_volume(&self, name: &str) -> Result<Option<File>, Error> {
        let busy = || Error::VolumeBusy { name: name.to_owned(), seconds: PATIENCE.as_secs() };
        lock_named(&self.volume_dir(name), busy)
    }

    /// The same of a secret.
    pub(crate) fn lock_secret(&self, name: &str) -> Result<Option<File>, Error> {
        let busy = || Error::SecretBusy { name: name.to_owned(), seconds: PATIENCE.as_secs() };
        lock_named(&self.secret_dir(name), busy)
    }
}

/// `None` when there is none.
fn lock_named(path: &Path, busy: impl Fn() -> Error) -> Result<Option<File>, Error> {
    let lock = match lock_dir(path, PATIENCE, busy) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        lock => lock?,
    };
    // It may have been removed meanwhile, and another made in its place.
    Ok(is_at(&lock, path).then_some(lock))
}

pub(crate) fn lock_dir(path: &Path, patience: Duration, busy: impl Fn() -> Error) -> Result<File, Error> {
    let file = File::open(path).context("open", path.display())?;
    let (end, mut pause) = (Instant::now() + patience, Duration::from_millis(1));
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(error)) => return Err(error).context("lock", path.display()),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE);
    }
}
