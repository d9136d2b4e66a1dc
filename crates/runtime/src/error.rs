use std::io;

use thiserror::Error;

/// Why a container could not be made, started or entered.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("invalid {field}: {reason}")]
    Invalid { field: String, reason: String },
    #[error("{what} is not supported yet: remove it from the configuration")]
    Unsupported { what: &'static str },
    #[error("parse {path}")]
    Parse { path: String, source: serde_json::Error },
    // Engines match on "does not exist" (containerd, youki's contest).
    #[error("container {id:?} does not exist")]
    NotFound { id: String },
    #[error("container with given ID already exists: {id:?}: choose another, or delete that one")]
    Exists { id: String },
    #[error("container {id:?} is being created or deleted by another process: try again")]
    Busy { id: String },
    #[error("container {id:?} belongs to {owner}, which wrote {path}: use {owner}, or another --root")]
    Foreign { id: String, owner: &'static str, path: String },
    #[error("{path} of container {id:?} is of version {found}: use the loment-runtime that wrote it")]
    Version { id: String, found: u64, path: String },
    #[error("{path} of container {id:?} is damaged: {reason}: end its processes and remove the directory")]
    Damaged { id: String, path: String, reason: String },
    #[error("cannot {operation} container {id:?}: it is {status}")]
    State { operation: &'static str, id: String, status: String },
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("{}, after this failure", failures.join("; "))]
    NotUndone { source: Box<Error>, failures: Vec<String> },
    #[error(transparent)]
    Resctrl(#[from] crate::resctrl::Error),
    #[error(transparent)]
    Cgroup(#[from] loment_cgroup::Error),
    #[error("compile the seccomp profile")]
    Seccomp(#[from] loment_seccomp::CompileError),
}

/// What kind of failure it was, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The container could not be set up.
    Setup,
    /// The program does not exist in the container.
    NotFound,
    /// The program exists but cannot be run.
    NotExecutable,
}

/// One step that failed: what was done to what, and the kernel's reason.
#[derive(Debug, Error)]
#[error("{operation} {object}")]
pub struct Failure {
    /// What kind of failure.
    pub cause: Cause,
    /// The verb.
    pub operation: String,
    /// What it was done to.
    pub object: String,
    /// The kernel's reason.
    pub source: io::Error,
}

impl Failure {
    /// A child that ended without a word.
    pub(crate) fn killed() -> Self {
        Self {
            cause: Cause::Setup,
            operation: "set up".to_owned(),
            object: "the container".to_owned(),
            source: io::Error::other("its process was killed, perhaps for lack of memory"),
        }
    }

    /// An answer nobody should have given.
    pub(crate) fn unexpected(operation: &str, object: &str) -> Self {
        let source = io::ErrorKind::InvalidData.into();
        Self { cause: Cause::Setup, operation: operation.to_owned(), object: object.to_owned(), source }
    }
}

/// Names the step a call belongs to.
pub(crate) trait Context<T> {
    /// Says what was done to what.
    fn context(self, operation: &str, object: impl std::fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &str, object: impl std::fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| Failure {
            cause: Cause::Setup,
            operation: operation.to_owned(),
            object: object.to_string(),
            source: e.into(),
        })
    }
}

pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Invalid { field: field.into(), reason: reason.into() }
}
