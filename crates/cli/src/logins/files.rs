//! The files with logins.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use loment_image::conf::AuthFormat;
use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;

use super::LoginError;
use crate::ecosystem::{home, user_config, variable};
use crate::rootless;

/// No file is larger.
const MAX_FILE: u64 = 4 << 20;

/// How long another command that changes logins is waited for,
const PATIENCE: Duration = Duration::from_secs(10);
/// and how often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A file with logins, that may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) format: AuthFormat,
}

/// What `--config` named.
static DOCKER_CONFIG: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the directory with Docker's configuration, instead of `DOCKER_CONFIG`.
pub(crate) fn choose_docker_config(directory: PathBuf) {
    let _ = DOCKER_CONFIG.set(directory);
}

/// Where logins are looked for.
#[derive(Debug)]
pub(crate) struct Places {
    /// The one that is written; first when it is read.
    first: Option<Place>,
    others: Vec<Place>,
}

impl Places {
    /// The file that a flag or REGISTRY_AUTH_FILE names, and no other; or else those of the user. Docker's own file is the
    /// one that is written where `docker` says so.
    pub(crate) fn find(flag: Option<&Path>, docker: bool) -> Self {
        let place = |path: PathBuf, format| Place { path, format };
        let chosen = flag.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE").map(PathBuf::from));
        if let Some(path) = chosen {
            return Self { first: Some(place(path, AuthFormat::Containers)), others: Vec::new() };
        }
        let own = place(runtime_directory().join("containers/auth.json"), AuthFormat::Containers);
        let config =
            user_config().map(|config| place(config.join("containers/auth.json"), AuthFormat::Containers));
        let of_docker = DOCKER_CONFIG
            .get()
            .cloned()
            .or_else(|| variable("DOCKER_CONFIG").map(PathBuf::from))
            .or_else(|| Some(home()?.join(".docker")));
        let of_docker = of_docker.map(|directory| place(directory.join("config.json"), AuthFormat::Docker));
        let legacy = home().map(|home| place(home.join(".dockercfg"), AuthFormat::Legacy));
        let all = [Some(own), config, of_docker.clone(), legacy].into_iter().flatten();
        let first = if docker { of_docker } else { all.clone().next() };
        Self { others: all.filter(|place| Some(place) != first.as_ref()).collect(), first }
    }

    /// Docker's file at that path, and no other.
    pub(crate) fn compatible(path: &Path) -> Self {
        Self { first: Some(Place { path: path.to_owned(), format: AuthFormat::Docker }), others: Vec::new() }
    }

    /// All, the most important one first.
    pub(super) fn read_order(&self) -> impl Iterator<Item = &Place> {
        self.first.iter().chain(&self.others)
    }

    /// The one that is written.
    pub(super) fn written(&self) -> Result<&Place, LoginError> {
        self.first.as_ref().ok_or(LoginError::NoPlace)
    }
}

/// What a login session, or else a boot, forgets.
fn runtime_directory() -> PathBuf {
    let xdg = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    xdg.unwrap_or_else(|| format!("/run/containers/{}", rootless::user()).into()).components().collect()
}

impl Place {
    fn doing(&self, operation: &'static str) -> impl Fn(std::io::Error) -> LoginError {
        let path = self.path.clone();
        move |source| LoginError::File { operation, path: path.clone(), source }
    }

    pub(super) fn text(&self) -> Result<String, LoginError> {
        let file = match File::open(&self.path) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(String::new());
            }
            // In a directory that is closed to this user nobody has put logins for them: /run/containers is root's once that used it.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && std::fs::metadata(&self.path).is_err() => {
                return Ok(String::new());
            }
            other => other.map_err(self.doing("read"))?,
        };
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(self.doing("read"))?;
        Ok(text)
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The file itself, where its name is a link, which stays one. A link to nothing is replaced by the file, as Podman and skopeo replace
    /// every link: what it names is not made, which others may have chosen.
    fn target(&self) -> PathBuf {
        std::fs::canonicalize(&self.path).unwrap_or_else(|_| {
            let directory = std::fs::canonicalize(self.directory());
            let directory = directory.unwrap_or_else(|_| self.directory().to_owned());
            directory.join(self.path.file_name().unwrap_or_default())
        })
    }

    /// Keeps others of us from changing it; makes its directory. Podman and Docker take no lock: what they put in its place is
    /// noticed by [`Place::replace`].
    pub(super) fn lock(&self) -> Result<Lock, LoginError> {
        self.lock_within(PATIENCE)
    }

    fn lock_within(&self, patience: Duration) -> Result<Lock, LoginError> {
        let directory = self.directory();
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let path = directory.to_owned();
        created.map_err(|source| LoginError::File { operation: "create", path, source })?;
        let lock = beside(&self.target(), ".", ".loment-lock");
        let end = Instant::now() + patience;
        loop {
            match Lock::try_take(&lock) {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) if Instant::now() < end => std::thread::sleep(LOOK),
                Ok(None) => {
                    let (path, seconds) = (self.path.clone(), patience.as_secs());
                    return Err(LoginError::Busy { path, lock, seconds });
                }
                Err(source) if source.kind() == ErrorKind::InvalidInput => {
                    return Err(LoginError::ForeignLock { path: lock });
                }
                Err(source) => return Err(LoginError::File { operation: "lock", path: lock, source }),
            }
        }
    }

    /// Which file is there, and which version of it.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let meta = std::fs::metadata(&self.path).ok()?;
        Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    }

    /// Puts another text in its place, which only its owner can read, if what is there is still what it was `before`; else `false`.
    pub(super) fn replace(&self, text: &str, before: Option<Stamp>) -> Result<bool, LoginError> {
        let path = self.target();
        let new = beside(&path, "", ".loment");
        let _ = std::fs::remove_file(&new);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(self.doing("write"))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let replaced = written.and_then(|()| match self.stamp() == before {
            true => std::fs::rename(&new, &path).map(|()| true),
            false => Ok(false),
        });
        if !matches!(replaced, Ok(true)) {
            let _ = std::fs::remove_file(&new);
        }
        replaced.map_err(self.doing("write"))
    }
}

/// Device, inode, size and time of change of a file.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// A file of another name in the same directory.
fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

/// The right to change a file with logins: a file beside it that only its owner can open, locked. A directory would not do: whoever can
/// enter it can lock it, and for as long as they like.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// `None` when another command has it. An error of the kind `InvalidInput` is for what is no lock of ours.
    fn try_take(path: &Path) -> std::io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::ACCESS) => match std::fs::symlink_metadata(path) {
                // Root's, which gives it away in a moment, or ends.
                Ok(meta) if meta.uid() == 0 && meta.is_file() && !rustix::process::geteuid().is_root() => {
                    return Ok(None);
                }
                // Another user's, who could have it for as long as they like. In directories where anybody may make files the kernel
                // keeps root, too, from opening it (`fs.protected_regular`).
                Ok(_) => return Err(ErrorKind::InvalidInput.into()),
                Err(_) => return Err(Errno::ACCESS.into()),
            },
            Err(Errno::LOOP) => return Err(ErrorKind::InvalidInput.into()),
            file => File::from(file?),
        };
        let meta = file.metadata()?;
        let around = std::fs::metadata(path.parent().unwrap_or(Path::new("/")))?.uid();
        let we = rustix::process::geteuid().as_raw();
        let own = meta.uid() == we || (we == 0 && meta.uid() == around);
        if !meta.is_file() || !own || meta.mode() & 0o077 != 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        if we == 0 && meta.uid() != around {
            // So that the user whose directory it is can take it when we were killed. They could have made it as well.
            let _ = rustix::fs::fchown(&file, Some(Uid::from_raw(around)), None);
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // The previous holder may have removed the file after it was opened here.
        let is_there = file.metadata()?.nlink() > 0;
        Ok(is_there.then(|| Self { path: path.to_owned(), _file: file }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked, so that who waits for it begins anew. One that is left is harmless.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn place(dir: &Path) -> Place {
        Place { path: dir.join("sub/auth.json"), format: AuthFormat::Containers }
    }

    #[test]
    fn one_at_a_time_and_nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let held = place.lock().unwrap();
        let error = place.lock_within(Duration::from_millis(100)).unwrap_err().to_string();
        assert!(error.contains("auth.json is being changed by another command"), "{error}");
        drop(held);
        place.lock_within(Duration::ZERO).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 0);
        // Both names of a file have one lock.
        std::fs::write(&place.path, "{}").unwrap();
        let link = Place { path: dir.path().join("link"), ..place.clone() };
        symlink(&place.path, &link.path).unwrap();
        let _held = link.lock().unwrap();
        place.lock_within(Duration::ZERO).unwrap_err();
    }

    #[test]
    fn what_others_can_open_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        drop(place.lock().unwrap());
        let lock = dir.path().join("sub/.auth.json.loment-lock");
        let refused = || {
            let error = place.lock_within(Duration::ZERO).unwrap_err().to_string();
            assert!(error.contains("remove it"), "{error}");
            std::fs::remove_file(&lock).unwrap();
        };
        std::fs::write(&lock, "").unwrap();
        std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).unwrap();
        refused();
        symlink("/dev/null", &lock).unwrap();
        refused();
        rustix::fs::mkfifoat(rustix::fs::CWD, &lock, Mode::RUSR | Mode::WUSR).unwrap();
        refused();
        if rustix::process::geteuid().is_root() {
            std::fs::write(&lock, "").unwrap();
            std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&lock, Some(1234), None).unwrap();
            refused();
        }
        place.lock_within(Duration::ZERO).unwrap();
    }

    #[test]
    fn what_another_user_has_made_is_no_lock_that_is_waited_for() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can be several users");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        let place = Place { path: dir.path().join("auth.json"), format: AuthFormat::Containers };
        let lock = dir.path().join(".auth.json.loment-lock");
        let made_by = |user: u32| {
            let _ = std::fs::remove_file(&lock);
            std::fs::write(&lock, "").unwrap();
            std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&lock, Some(user), Some(user)).unwrap();
        };
        // Only this thread becomes another user, and it ends.
        let as_user = || {
            let other = rustix::fs::Uid::from_raw(1234);
            rustix::thread::set_thread_res_uid(other, other, other).unwrap();
            place.lock_within(Duration::ZERO).map(drop).map_err(|error| error.to_string())
        };
        let attempt = || std::thread::scope(|scope| scope.spawn(as_user).join().unwrap());
        made_by(5678);
        let error = attempt().unwrap_err();
        assert!(error.contains("is no lock of ours") && error.contains("remove it"), "{error}");
        let error = place.lock_within(Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("is no lock of ours"), "root: {error}");
        // Root's is waited for.
        made_by(0);
        let error = attempt().unwrap_err();
        assert!(error.contains("is being changed by another command"), "{error}");
        made_by(1234);
        attempt().unwrap();
    }

    #[test]
    fn a_link_to_nothing_is_replaced_and_what_it_names_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("auth.json"), format: AuthFormat::Containers };
        symlink("elsewhere", &place.path).unwrap();
        let _lock = place.lock().unwrap();
        assert!(place.replace("{}", place.stamp()).unwrap());
        assert!(std::fs::symlink_metadata(&place.path).unwrap().is_file());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn what_another_program_has_put_there_meanwhile_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let _lock = place.lock().unwrap();
        let nothing = place.stamp();
        assert!(place.replace("one", nothing).unwrap());
        assert!(!place.replace("two", nothing).unwrap());
        let one = place.stamp();
        // As Podman and Docker do it.
        std::fs::write(dir.path().join("sub/new"), "theirs").unwrap();
        std::fs::rename(dir.path().join("sub/new"), &place.path).unwrap();
        assert!(!place.replace("two", one).unwrap());
        assert_eq!(place.text().unwrap(), "theirs");
        assert!(place.replace("two", place.stamp()).unwrap());
        assert_eq!(place.text().unwrap(), "two");
    }
}
