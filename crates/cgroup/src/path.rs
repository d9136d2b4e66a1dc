use std::fmt;

use crate::Error;

/// The name of a group, relative to the root of each hierarchy: `a/b`, never empty, never climbing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Checks a name. A leading slash is allowed and dropped.
    ///
    /// # Errors
    /// [`Error::Path`] for an empty name, an empty or dotted component (crun 1.28 and 1.29 were escaped through `..`),
    /// one longer than 255 bytes, or a NUL or newline.
    pub fn new(path: &str) -> Result<Self, Error> {
        let fail = |reason| Err(Error::Path { path: path.to_owned(), reason });
        let relative = path.trim_start_matches('/').trim_end_matches('/');
        if relative.is_empty() {
            return fail("it names the root group");
        }
        if relative.contains(['\0', '\n']) {
            return fail("it contains a NUL or a newline");
        }
        for component in relative.split('/') {
            match component {
                "" | "." | ".." => return fail("a component is empty, . or .."),
                c if c.len() > 255 => return fail("a component is longer than 255 bytes"),
                _ => {}
            }
        }
        Ok(Self(relative.to_owned()))
    }

    /// Of a group that is in no hierarchy.
    pub(crate) fn nowhere() -> Self {
        Self("none".to_owned())
    }

    /// The name without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group inside this one with that name.
    ///
    /// # Errors
    /// As [`CgroupPath::new`].
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        Self::new(&format!("{}/{name}", self.0))
    }

    /// Whether it is a group in `other`, at any depth.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The groups on the way, outermost first, ending with this one.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(i, _)| &self.0[..i]).chain(std::iter::once(self.0.as_str()))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
