use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong with a control group.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("no cgroup hierarchy is mounted under {}: mount cgroup2 there", path.display())]
    NotMounted { path: PathBuf },
    #[error("invalid cgroup path {path:?}: {reason}")]
    Path { path: String, reason: &'static str },
    #[error("cgroup {path} already exists")]
    Exists { path: String },
    #[error("the {controller} cgroup controller is not available, but {wanted} was asked for")]
    NoController { controller: &'static str, wanted: String },
    #[error("the {controller} cgroup controller is not available, but {wanted} was asked for")]
    NotAvailable { controller: String, wanted: String },
    #[error("invalid value {value} for {name}")]
    Value { name: &'static str, value: String },
    #[error("write {value:?} to cgroup file {path}")]
    Write { path: String, value: String, source: io::Error },
    #[error("{operation} cgroup {path}")]
    Io { operation: &'static str, path: String, source: io::Error },
    #[error("{what} cannot be set: remove it from the configuration")]
    Unsupported { what: &'static str },
}
