//! Names of places with images: `TRANSPORT:REST`, as containers-transports(5) has them.

use std::fmt;
use std::path::PathBuf;

use crate::reference::{Reference, ReferenceError};

/// Transports of others that mean nothing here yet.
const OTHERS: [&str; 6] =
    ["containers-storage", "docker-archive", "docker-daemon", "oci-archive", "ostree", "sif"];

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
    /// `dir:DIR`: in a directory of its own.
    Dir(PathBuf),
}

/// What is no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nothing says what kind of place it is.
    #[error("invalid image name {0:?}: begin with a transport: docker://, oci: or dir:")]
    NoTransport(String),
    /// The transport is not known.
    #[error(
        "invalid image name {name:?}: transport {transport:?} is not supported: use docker://, oci: or dir:"
    )]
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
            "oci" => {
                let (dir, entry) = match rest.split_once(':') {
                    Some((dir, entry)) => (dir, Some(entry.to_owned()).filter(|entry| !entry.is_empty())),
                    None => (rest, None),
                };
                if dir.is_empty() { Err(empty()) } else { Ok(Self::Oci { dir: dir.into(), entry }) }
            }
            "dir" if rest.is_empty() => Err(empty()),
            "dir" => Ok(Self::Dir(rest.into())),
            _ => {
                let (name, transport) = (name.to_owned(), transport.to_owned());
                Err(PlaceError::Transport { name, transport })
            }
        }
    }

    /// The same where a name without a transport is a reference; `None` for that.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse_if_any(name: &str) -> Result<Option<Self>, PlaceError> {
        let transport = name.split_once(':').map(|(transport, _)| transport);
        match transport {
            Some("docker") if !name.starts_with("docker://") => Ok(None),
            Some("docker" | "oci" | "dir") => Self::parse(name).map(Some),
            Some(other) if OTHERS.contains(&other) => Self::parse(name).map(Some),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "docker://{}", reference.store_name()),
            Self::Oci { dir, entry: Some(entry) } => write!(f, "oci:{}:{entry}", dir.display()),
            Self::Oci { dir, entry: None } => write!(f, "oci:{}", dir.display()),
            Self::Dir(dir) => write!(f, "dir:{}", dir.display()),
        }
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
        assert!(place("busybox").unwrap_err().contains("begin with a transport"));
        assert!(place("docker-archive:x").unwrap_err().contains("\"docker-archive\" is not supported"));
        for empty in ["dir:", "oci:", "oci::x", "docker:", "docker://", "docker:busybox"] {
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
        assert!(Place::parse_if_any("docker-archive:/x").is_err());
    }
}
