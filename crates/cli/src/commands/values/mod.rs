//! Values of flags.

pub(super) mod devices;
pub(super) mod files;
pub(super) mod limits;
pub(super) mod namespace;
pub(super) mod process;
pub(super) mod supervision;
pub(super) mod users;

use crate::error::Error;
use crate::units::{parse_human_size, parse_size};

fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::Invalid(message))
}

/// A size in bytes.
pub(super) fn size(flag: &str, text: &str) -> Result<i64, Error> {
    parse_size(text).ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a size such as 64m or 2g"))
    })
}

/// The size of a log in bytes, with decimal units.
pub(super) fn human_size(flag: &str, text: &str) -> Result<i64, Error> {
    parse_human_size(text).ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a size such as 10m or 1g"))
    })
}

/// `NAME=VALUE` or `NAME` for an empty value.
pub(super) fn label(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some(("", _)) => invalid(format!("invalid label {text:?}: use NAME=VALUE")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None if text.is_empty() => invalid("invalid label \"\": use NAME=VALUE".into()),
        None => Ok((text.to_owned(), String::new())),
    }
}
