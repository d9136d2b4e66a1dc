//! Which CRIU there is.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Error;
use super::process::{Launch, Process};
use super::protocol::{Features, Kind, Request, VersionInfo};

/// Of the program: major, minor, sublevel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32, pub(super) u32);

/// The oldest that knows all of what is always in a request: namespaces that come from outside (3.11 and 3.15), settings
/// files (3.11), the freezer of v2 (3.14), a word when pages can be fetched (3.15).
pub(super) const MINIMUM: Version = Version(3, 15, 0);
/// The first that lets profiles be changed, and connections be kept still in a chosen way.
pub(super) const WITH_PROFILES: Version = Version(3, 16, 0);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(major, minor, 0) => write!(f, "{major}.{minor}"),
            Self(major, minor, sublevel) => write!(f, "{major}.{minor}.{sublevel}"),
        }
    }
}

impl From<VersionInfo> for Version {
    fn from(v: VersionInfo) -> Self {
        let number = |n: i32| u32::try_from(n).unwrap_or(0);
        Self(number(v.major_number), number(v.minor_number), number(v.sublevel.unwrap_or(0)))
    }
}

/// A usable CRIU.
#[derive(Debug)]
pub struct Criu {
    pub(super) program: PathBuf,
    pub(super) environment: Vec<CString>,
    version: Version,
}

impl Criu {
    /// Asks the program for its version. It is run with that environment: it looks for other programs in `PATH`.
    ///
    /// # Errors
    /// [`Error::Failed`] when it cannot be run, [`Error::NoAnswer`] when it is no CRIU or cannot start,
    /// [`Error::TooOld`].
    pub fn probe(program: PathBuf, environment: Vec<CString>) -> Result<Self, Error> {
        let mut criu = Self { program, environment, version: MINIMUM };
        let asked = {
            let process = Process::start(&criu, &Launch::default())?;
            process.ask(&Request::of(Kind::Version), &mut |_, _| Ok(()))
        };
        // Before 3.0 the request was unknown.
        criu.version = asked?.version.map_or(Version(2, 0, 0), Version::from);
        criu.require(MINIMUM, "a checkpoint")?;
        Ok(criu)
    }

    /// Its path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it is run with.
    pub fn environment(&self) -> &[CString] {
        &self.environment
    }

    /// Its path, for messages.
    pub(super) fn name(&self) -> String {
        self.program.display().to_string()
    }

    /// Its version.
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// Refuses a version that is too old for `what`.
    pub(super) fn require(&self, minimum: Version, what: &'static str) -> Result<(), Error> {
        if self.version >= minimum {
            return Ok(());
        }
        let (program, version) = (self.name(), self.version());
        Err(Error::TooOld { program, version, what, minimum: minimum.to_string() })
    }

    /// Refuses a kernel that lacks what these flags need.
    pub(super) fn require_features(&self, memory_tracking: bool, lazy_pages: bool) -> Result<(), Error> {
        if !memory_tracking && !lazy_pages {
            return Ok(());
        }
        let wanted = Features { mem_track: Some(memory_tracking), lazy_pages: Some(lazy_pages) };
        let process = Process::start(self, &Launch::default())?;
        let request = Request { features: Some(wanted), ..Request::of(Kind::FeatureCheck) };
        let response = process.ask(&request, &mut |_, _| Ok(()))?;
        let (program, version) = (self.name(), self.version());
        let Some(has) = response.features.filter(|_| response.success) else {
            return Err(Error::NoFeatures { program, version, said: process.said() });
        };
        let missing = if memory_tracking && has.mem_track != Some(true) {
            ("tracking of memory changes (CONFIG_MEM_SOFT_DIRTY)", "--pre-dump")
        } else if lazy_pages && has.lazy_pages != Some(true) {
            ("userfaultfd for other processes (CONFIG_USERFAULTFD)", "--lazy-pages")
        } else {
            return Ok(());
        };
        Err(Error::NoFeature { program, version, feature: missing.0, what: missing.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_and_written_as_people_do() {
        let version = |major_number, minor_number, sublevel| -> Version {
            VersionInfo { major_number, minor_number, sublevel }.into()
        };
        assert!(version(3, 14, None) < MINIMUM && version(3, 15, None) >= MINIMUM);
        assert!(version(3, 17, Some(1)) > WITH_PROFILES && version(4, 0, None) > version(3, 17, Some(1)));
        assert_eq!(version(3, 17, Some(1)).to_string(), "3.17.1");
        assert_eq!(version(4, 2, Some(0)).to_string(), "4.2");
        // Of somebody's making.
        assert_eq!(version(-1, 2, None).to_string(), "0.2");
    }

    #[test]
    fn one_that_is_too_old_is_named_with_what_is_needed() {
        let criu =
            Criu { program: "/usr/sbin/criu".into(), environment: Vec::new(), version: Version(3, 11, 0) };
        let said = criu.require(MINIMUM, "a checkpoint").unwrap_err().to_string();
        let expected =
            "/usr/sbin/criu is criu 3.11, and a checkpoint needs 3.15 or newer: install a newer criu";
        assert_eq!(said, expected);
    }
}
