//! A container's network, and what it is called there.

use serde::{Deserialize, Serialize};

/// A container's network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Net {
    /// Whose.
    pub network: Network,
    /// Its own host name.
    pub hostname: String,
}

/// Whose network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own with a loopback interface only.
    #[default]
    None,
    /// The host's.
    Host,
}

impl Network {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}
