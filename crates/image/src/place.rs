//! Names of places with images: `TRANSPORT:REST`, as containers-transports(5) has them.

use std::fmt;
use std::path::PathBuf;

use crate::reference::{Reference, ReferenceError};

/// Transports of others that mean nothing here.
const OTHERS: [&str; 4] = ["atomic", "ostree", "sif", "tarball"];
/// Those that are known, as messages have them.
const KNOWN: &str =
    "docker://, oci:, oci-archive:, dir:, docker-archive:, docker-daemon: or containers-storage:";

/// Where an image is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `docker://REFERENCE`: in a registry.
    Registry(Reference),
    /// `oci:DIR[:ENTRY]`: in an OCI image layout.
    Oci {
        /// The layout.
        dir: PathBuf,
        /// The entry's name, `@` and its position, or its digest.
        entry: Option<String>,
    },
    /// `oci-archive:FILE[:ENTRY]`: in an archive of an OCI image layout.
    OciArchive {
        /// The archive.
        file: PathBuf,
        /// As of [`Place::Oci`].
        entry: Option<String>,
    },
    /// `dir:DIR`: in a directory of its own.
    Dir(PathBuf),
    /// `docker-archive:FILE[:NAME]`: in an archive as `docker save` writes.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// The image's name, or `@` and its position.
        image: Option<String>,
    },
    /// `docker-daemon:NAME`: with Docker's daemon.
    Daemon(String),
    /// `containers-storage:NAME`: in our own store; a name or an id.
    Store(String),
    /// `containers-storage:[DRIVER@ROOT+RUNROOT]NAME`: in another tool's storage, which is only read.
    Storage {
        /// `overlay` or `vfs`; `None` for the one that is there.
        driver: Option<String>,
        /// `/var/lib/containers/storage`
        root: PathBuf,
        /// A name or an id.
        image: String,
    },
}

/// What is no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing says what kind of place it is.
    #[error("invalid image name {0:?}: begin with a transport: {KNOWN}")]
    NoTransport(String),
    /// The transport is not known.
    #[error("invalid image name {name:?}: transport {transport:?} is not supported: use {KNOWN}")]
    Transport {
        /// As written.
        name: String,
        /// Of it.
        transport: String,
    },
    /// What comes after the transport is missing.
    #[error("invalid image name {0:?}: say where it is")]
    Empty(String),
    /// A reference that cannot be read.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// A path ends at the first colon.
fn split(rest: &str) -> Option<(PathBuf, Option<String>)> {
    let (path, entry) = match rest.split_once(':') {
        Some((path, entry)) => (path, Some(entry.to_owned()).filter(|entry| !entry.is_empty())),
        None => (rest, None),
    };
    (!path.is_empty()).then(|| (path.into(), entry))
}

/// Ours, or what is said in brackets. What the other tool needs only while it runs is not looked at.
fn storage(rest: &str) -> Option<Place> {
    let Some(rest) = rest.strip_prefix('[') else { return Some(Place::Store(rest.to_owned())) };
    let (place, image) = rest.split_once(']')?;
    let (driver, place) = match place.split_once('@') {
        Some((driver, place)) => (Some(driver.to_owned()).filter(|driver| !driver.is_empty()), place),
        None => (None, place),
    };
    let root = place.split(['+', ':']).next().filter(|root| root.starts_with('/'))?;
    let image = image.to_owned();
    (!image.is_empty()).then(|| Place::Storage { driver, root: root.into(), image })
}

impl Place {
    /// The place of that name, which begins with its transport.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse(name: &str) -> Result<Self, PlaceError> {
        let Some((transport, rest)) = name.split_once(':') else {
            return Err(PlaceError::NoTransport(name.to_owned()));
        };
        let empty = || PlaceError::Empty(name.to_owned());
        match transport {
            "docker" => {
                let rest = rest.strip_prefix("//").filter(|rest| !rest.is_empty()).ok_or_else(empty)?;
                Ok(Self::Registry(rest.parse()?))
            }
            "oci" => split(rest).map(|(dir, entry)| Self::Oci { dir, entry }).ok_or_else(empty),
            "oci-archive" => {
                split(rest).map(|(file, entry)| Self::OciArchive { file, entry }).ok_or_else(empty)
            }
            "docker-archive" => {
                split(rest).map(|(file, image)| Self::DockerArchive { file, image }).ok_or_else(empty)
            }
            "dir" | "docker-daemon" | "containers-storage" if rest.is_empty() => Err(empty()),
            "dir" => Ok(Self::Dir(rest.into())),
            "docker-daemon" => Ok(Self::Daemon(rest.to_owned())),
            "containers-storage" => storage(rest).ok_or_else(empty),
            _ => {
                let (name, transport) = (name.to_owned(), transport.to_owned());
                Err(PlaceError::Transport { name, transport })
            }
        }
    }

    /// What its name begins with.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Registry(_) => "docker",
            Self::Oci { .. } => "oci",
            Self::OciArchive { .. } => "oci-archive",
            Self::Dir(_) => "dir",
            Self::DockerArchive { .. } => "docker-archive",
            Self::Daemon(_) => "docker-daemon",
            Self::Store(_) | Self::Storage { .. } => "containers-storage",
        }
    }

    /// The same where a name without a transport is a reference; `None` for that.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse_if_any(name: &str) -> Result<Option<Self>, PlaceError> {
        match name.split_once(':').map(|(transport, _)| transport) {
            Some("docker") if !name.starts_with("docker://") => Ok(None),
            Some(
                "docker" | "oci" | "oci-archive" | "dir" | "docker-archive" | "docker-daemon"
                | "containers-storage",
            ) => Self::parse(name).map(Some),
            Some(other) if OTHERS.contains(&other) => Self::parse(name).map(Some),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, entry) = match self {
            Self::Registry(reference) => return write!(f, "docker://{}", reference.store_name()),
            Self::Daemon(name) => return write!(f, "docker-daemon:{name}"),
            Self::Store(name) => return write!(f, "containers-storage:{name}"),
            Self::Storage { driver, root, image } => {
                let root = root.display().to_string();
                // Whatever is before the first one is the driver.
                let at = if driver.is_some() || root.contains('@') { "@" } else { "" };
                let driver = driver.as_deref().unwrap_or_default();
                return write!(f, "containers-storage:[{driver}{at}{root}]{image}");
            }
            Self::Dir(dir) => ("dir", dir, &None),
            Self::Oci { dir, entry } => ("oci", dir, entry),
            Self::OciArchive { file, entry } => ("oci-archive", file, entry),
            Self::DockerArchive { file, image } => ("docker-archive", file, image),
        };
        write!(f, "{transport}:{}", path.display())?;
        entry.as_ref().map_or(Ok(()), |entry| write!(f, ":{entry}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_transports() {
        let place = |name: &str| Place::parse(name).map(|place| place.to_string()).map_err(|e| e.to_string());
        assert_eq!(place("docker://busybox").unwrap(), "docker://docker.io/library/busybox:latest");
        assert_eq!(place("oci:/a/b:tag:x").unwrap(), "oci:/a/b:tag:x");
        assert_eq!(place("oci:a:").unwrap(), "oci:a");
        assert_eq!(place("dir:a:b").unwrap(), "dir:a:b");
        assert_eq!(place("containers-storage:[@/a]x").unwrap(), "containers-storage:[/a]x");
        for same in [
            "containers-storage:[@/a@b]x",
            "containers-storage:[overlay@/a@b]x",
            "docker-archive:/a.tar",
            "docker-archive:a.tar:localhost/x:1",
            "docker-archive:a.tar:@3",
            "oci-archive:a:b",
            "docker-daemon:busybox:latest",
            "containers-storage:localhost/x:1",
            "containers-storage:[/a/b]x",
            "containers-storage:[vfs@/a/b]localhost/x:1",
        ] {
            assert_eq!(place(same).unwrap(), same);
        }
        let whole = "containers-storage:[overlay@/a+/run/b:overlay.mountopt=x]localhost/x:1@abc";
        assert_eq!(place(whole).unwrap(), "containers-storage:[overlay@/a]localhost/x:1@abc");
        assert!(place("busybox").unwrap_err().contains("begin with a transport"));
        assert!(place("sif:x").unwrap_err().contains("\"sif\" is not supported"));
        for empty in [
            "dir:",
            "oci:",
            "oci::x",
            "docker:",
            "docker://",
            "docker:busybox",
            "oci-archive::x",
            "docker-archive:",
            "docker-daemon:",
            "containers-storage:",
            "containers-storage:[/a]",
            "containers-storage:[/a",
            "containers-storage:[a]x",
        ] {
            assert!(place(empty).unwrap_err().contains("say where it is"), "{empty}");
        }
        assert!(place("docker://UPPER").is_err());
    }

    #[test]
    fn a_port_or_tag_is_no_transport() {
        for name in ["localhost:5000/x", "busybox:latest", "docker:latest", "x"] {
            assert_eq!(Place::parse_if_any(name).unwrap(), None, "{name}");
        }
        assert!(Place::parse_if_any("dir:/x").unwrap().is_some());
        assert!(Place::parse_if_any("docker-archive:/x").unwrap().is_some());
        assert!(Place::parse_if_any("sif:/x").is_err());
    }
}
