use std::io;

use thiserror::Error;

use crate::Refused;

/// Why a network namespace or a device could not be dealt with.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{name:?} is not a name of a network device: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("{operation} a network namespace")]
    Namespace { operation: &'static str, source: io::Error },
    #[error("the container's network namespace is the one the devices are in: give it one of its own")]
    SameNamespace,
    #[error("network device {name} does not exist in the runtime's network namespace")]
    NotFound { name: String },
    #[error("network device {name} is a loopback device, of which each network namespace has its own")]
    Loopback { name: String },
    #[error(
        "network device {name} exists in the container's network namespace: choose another name, or one with %d \
         for a number"
    )]
    Exists { name: String },
    #[error("{operation} network device {name}")]
    Device { operation: &'static str, name: String, source: Refused },
    #[error("{operation} {object} of network device {name}")]
    Part { operation: &'static str, object: String, name: String, source: Refused },
    #[error("find network device {name} after it was moved: it was moved or renamed by somebody else")]
    Lost { name: String },
}
