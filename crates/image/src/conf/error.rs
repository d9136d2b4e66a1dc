//! What is wrong with a configuration file.

use std::fmt;

/// Where something is wrong in a text; lines and columns begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Position {
    /// Of a byte in a text; the end if it has fewer.
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let mut end = byte.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a configuration file cannot be used. `file` is the name that was given with its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfError {
    /// Not the syntax, or a value of the wrong type.
    #[error("parse {file}: {position}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Where.
        position: Position,
        /// The parser's words, one line.
        message: String,
    },
    /// `[registries.search]` and its like. Podman's words.
    #[error(
        "{file}: registry must be in v2 format but is in v1: use unqualified-search-registries and [[registry]]"
    )]
    Version1 {
        /// The file.
        file: String,
    },
    /// A policy that must not be guessed at.
    #[error("invalid policy in {file}: {problem}")]
    Policy {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that means nothing.
    #[error("{file}: invalid {key} {value:?}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// Its key.
        key: &'static str,
        /// As written.
        value: String,
        /// What is wrong, and what to write.
        problem: &'static str,
    },
    /// Something else is wrong.
    #[error("{file}: {problem}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// Something in a list that is none of its items.
    #[error("{file}: invalid item {item} in {key}: use texts, and {{append=true}} or {{append=false}}")]
    List {
        /// The file.
        file: String,
        /// Its key.
        key: String,
        /// As written.
        item: String,
    },
    /// Two settings that exclude each other.
    #[error("{file}: registry {registry:?}: {problem}")]
    Conflict {
        /// The file.
        file: String,
        /// Prefix or location.
        registry: String,
        /// Which.
        problem: &'static str,
    },
}

impl ConfError {
    /// An error of the TOML parser, as one line.
    pub(crate) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let position = Position::of(text, error.span().map_or(text.len(), |span| span.start));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::Syntax { file: file.to_owned(), position, message }
    }

    /// [`ConfError::Content`] in one line, whatever the file has in its names.
    pub(super) fn content(file: &str, problem: &str) -> Self {
        let problem = problem.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self::Content { file: file.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let at = |byte| Position::of("a\nüb\n", byte).to_string();
        assert_eq!(at(0), "line 1, column 1");
        assert_eq!(at(2), "line 2, column 1");
        assert_eq!(at(3), "line 2, column 1");
        assert_eq!(at(4), "line 2, column 2");
        assert_eq!(at(99), "line 3, column 1");
    }
}
