//! How errors are shown, and which exit status they give. Podman's and Docker's numbers: 125 the engine failed, 126 the
//! program could not be run, 127 it was not found.

use std::error::Error as StdError;
use std::fmt::Write;

use loment_runtime::Cause;

/// The engine failed.
pub(crate) const ENGINE: u8 = 125;
/// The program exists but could not be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// An error of the command line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Engine(#[from] loment_engine::Error),
    #[error("{message}\nSee '{} --help'", [program, command.as_str()].join(" ").trim_end())]
    Usage { message: String, program: &'static str, command: String },
    /// A flag that the command has not; all commands may have it, before their name.
    #[error("{usage}")]
    UnknownFlag { flag: String, usage: Box<Self> },
    #[error("{0}")]
    Invalid(String),
    #[error("{operation}")]
    Io { operation: String, source: std::io::Error },
    // The words are Podman's, where it has looked for others' containers, too.
    #[error("no container with ID or name {name:?} found: no such container")]
    NothingToRemove { name: String },
    /// Several objects were given; each one's error was shown when it happened.
    #[error("")]
    Shown { status: u8 },
    // The words are Go's.
    #[error("template {template:?}: can't evaluate field {field}: use {}", known.join(", "))]
    Field { template: String, field: String, known: Vec<String> },
    #[error("template {template:?}")]
    Template { template: String, source: gotmpl::TemplateError },
}

impl Error {
    /// Whether the same may succeed some time later, without anybody doing anything about it.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Engine(error) if error.may_pass())
    }

    /// The exit status; `fallback` is that of an error that says nothing itself.
    pub(crate) fn status(&self, fallback: u8) -> u8 {
        match self {
            Self::Engine(loment_engine::Error::Start { cause, .. }) => status_of(*cause),
            Self::Shown { status } => *status,
            Self::Usage { .. } | Self::UnknownFlag { .. } => ENGINE,
            _ => fallback,
        }
    }

    /// The exit status of commands that remove things, which is Podman's: 1 for something that does not exist, 2 for something
    /// in use.
    pub(crate) fn status_of_removal(&self) -> u8 {
        use loment_engine::Error as Engine;
        match self {
            Self::NothingToRemove { .. } => 1,
            Self::Engine(
                Engine::NoContainer { .. }
                | Engine::NoImage { .. }
                | Engine::NoPod { .. }
                | Engine::NoVolume { .. },
            ) => 1,
            Self::Engine(Engine::State { .. } | Engine::ImageInUse { .. } | Engine::VolumeInUse { .. }) => 2,
            other => other.status(ENGINE),
        }
    }
}

impl Error {
    /// The exit status of Docker's client: 125 for flags that it does not understand, and for what `run` could not do before a
    /// program ran; 1 for all else that failed.
    pub(crate) fn status_of_docker(&self, runs: bool) -> u8 {
        match self {
            Self::Invalid(_) | Self::Usage { .. } | Self::UnknownFlag { .. } => ENGINE,
            _ if runs => self.status(ENGINE),
            // Of removals.
            Self::Shown { status: 2 } => 1,
            _ => match self.status(ENGINE) {
                ENGINE => 1,
                status => status,
            },
        }
    }

    /// The exit status of skopeo: 2 for an image that is not there, 1 for all else.
    pub(crate) fn status_of_skopeo(&self) -> u8 {
        use loment_engine::Error as Engine;
        let missing = |error: &loment_registry::Error| {
            matches!(error, loment_registry::Error::NotFound { .. } | loment_registry::Error::Missing { .. })
        };
        match self {
            Self::Shown { status } => (*status).min(1),
            Self::Engine(Engine::Registry(error)) if missing(error) => 2,
            Self::Engine(Engine::Pull(error)) => match error.as_ref() {
                loment_image::Error::Registry(error) if missing(error) => 2,
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// The exit status of a program that could not be started.
pub(crate) fn status_of(cause: Cause) -> u8 {
    match cause {
        Cause::Setup => ENGINE,
        Cause::NotExecutable => NOT_EXECUTABLE,
        Cause::NotFound => NOT_FOUND,
    }
}

/// Adds what was being done to an I/O error.
pub(crate) trait Doing<T> {
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|e| Error::Io { operation: operation(), source: e.into() })
    }
}

/// An error and what caused it, on one line, with errors of the kernel as Go's programs write them: scripts look for that.
pub(crate) fn one_line(error: &dyn StdError) -> String {
    let mut text = causes(error);
    while let Some(end) = text.find(MARK) {
        let begin = text[..end].rfind(": ").map_or(0, |at| at + 2);
        let first: String = text[begin..].chars().take(1).flat_map(char::to_lowercase).collect();
        let length = text[begin..].chars().next().map_or(0, char::len_utf8);
        text.replace_range(begin..begin + length, &first);
        let after = text[end..].find(')').map_or(text.len(), |at| end + at + 1);
        text.replace_range(end..after, "");
    }
    text
}

/// The same as programs in C write them, as other OCI runtimes do.
pub(crate) fn one_line_in_c(error: &dyn StdError) -> String {
    without_numbers(&causes(error))
}

fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        let cause = e.to_string();
        if !text.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
        source = e.source();
    }
    text
}

/// What follows the words of an error of the kernel: a number, which adds nothing to them.
const MARK: &str = " (os error ";

/// Leaves those numbers out.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find(MARK) {
        let Some(len) = text[start..].find(')') else { break };
        text.replace_range(start..=start + len, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_the_same_line_without_numbers() {
        let source = std::io::Error::from_raw_os_error(2);
        let error = Error::Io { operation: "open x".into(), source };
        assert_eq!(one_line(&error), "open x: no such file or directory");
        assert_eq!(one_line_in_c(&error), "open x: No such file or directory");
        assert_eq!(error.status(125), 125);
    }
}
