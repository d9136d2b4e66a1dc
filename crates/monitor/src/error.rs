use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a container could not be started or supervised.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{operation} {object}")]
    Io { operation: &'static str, object: String, source: io::Error },
    #[error("read the launch document")]
    Launch(#[source] serde_json::Error),
    #[error(transparent)]
    Runtime(#[from] loment_runtime::Error),
    #[error(transparent)]
    Cgroup(#[from] loment_cgroup::Error),
    #[error(transparent)]
    Checkpoint(#[from] loment_runtime::checkpoint::Error),
    #[error(transparent)]
    User(#[from] crate::user::UserError),
    #[error("workdir {directory:?} does not exist on container {id}")]
    NoWorkdir { directory: PathBuf, id: String },
    #[error("cannot join the {kind} namespace of container {container}: it does not run")]
    NotRunning { container: String, kind: String },
    #[error(
        "the launch document is version {found}, this program understands {known}: use the version that wrote it"
    )]
    Version { found: u32, known: u32 },
}

/// Names what a call was about.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error> {
        self.map_err(|e| Error::Io { operation, object: object.to_string(), source: e.into() })
    }
}
