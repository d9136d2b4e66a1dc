use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::invalid;

/// A container's id: it becomes a directory, a cgroup and a keyring, so it is checked first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(pub(super) String);

impl Id {
    /// Checks an id: letters, digits, `_`, `+`, `-`, `.`, not beginning with a dot, at most 1024 bytes (crun 1.28).
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(id: &str) -> Result<Self, Error> {
        let ok = |c: u8| c.is_ascii_alphanumeric() || b"_+-.".contains(&c);
        if id.is_empty() || id.len() > 1024 || id.starts_with('.') || !id.bytes().all(ok) {
            return Err(invalid(
                format!("container id {id:?}"),
                "use letters, digits and _+-. and no leading dot",
            ));
        }
        Ok(Self(id.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
