//! A container's network, and what it is called there.

use std::path::PathBuf;

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own with a loopback interface only.
    #[default]
    None,
    /// The host's.
    Host,
    /// That of the container with this id.
    Container(String),
    /// The network namespace at this absolute path.
    Path(PathBuf),
}

impl Network {
    /// As users write it.
    pub fn name(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Container(id) => format!("container:{id}"),
            Self::Path(path) => format!("ns:{}", path.display()),
        }
    }

    /// The container whose it is, if that is another.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container(id) => Some(id),
            _ => None,
        }
    }
}
