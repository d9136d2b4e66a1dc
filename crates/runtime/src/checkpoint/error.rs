use std::io;

use thiserror::Error;

use crate::Failure;

/// Why there is no checkpoint, or no container from one.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "{program} {ended} without an answer{said}: is it criu? Install criu {minimum} or newer, or name it with --criu"
    )]
    NoAnswer { program: String, ended: String, said: String, minimum: String },
    #[error("{program} is criu {version}, and {what} needs {minimum} or newer: install a newer criu")]
    TooOld { program: String, version: String, what: &'static str, minimum: String },
    #[error(
        "{program} (criu {version}) cannot say what it is able to do here{said}: run {program} check, and install a newer criu if it does not know this kernel"
    )]
    NoFeatures { program: String, version: String, said: String },
    #[error(
        "{program} (criu {version}) has no {feature} on this kernel, which {what} needs: do without, or use a kernel that has it"
    )]
    NoFeature { program: String, version: String, feature: &'static str, what: &'static str },
    #[error(
        "criu failed: {operation} by {program} (criu {version}){reason}: see {log}, and what {program} check says of this kernel"
    )]
    Refused { operation: &'static str, program: String, version: String, reason: String, log: String },
    #[error("talk to {program}")]
    Talk { program: String, source: io::Error },
    #[error("{program} sent what is not an answer")]
    Garbled { program: String, source: prost::DecodeError },
    #[error("{action} checkpoint directory {path}")]
    Images { action: &'static str, path: String, source: io::Error },
    #[error("invalid --parent-path {path:?}: {reason}")]
    Parent { path: String, reason: String },
    #[error(
        "{path} of the checkpoint is not a list of names: it is damaged, or not a checkpoint of a container"
    )]
    Descriptors { path: String, source: serde_json::Error },
    #[error("a {kind} namespace that is joined cannot be restored: remove its path from the configuration")]
    Namespace { kind: String },
    #[error(
        "the restored container has a terminal, but nobody to give it to: its checkpoint was of another configuration"
    )]
    NoTerminal,
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Runtime(#[from] crate::Error),
    #[error("hand over the restored container")]
    HandOver { source: Box<dyn std::error::Error + Send + Sync> },
}

impl From<loment_cgroup::Error> for Error {
    fn from(error: loment_cgroup::Error) -> Self {
        Self::Runtime(error.into())
    }
}
