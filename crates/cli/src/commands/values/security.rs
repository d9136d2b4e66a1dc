//! What a container may do.

use super::invalid;
use crate::error::Error;

/// `KEY=VALUE`; slashes in a key are dots (sysctl(8)).
pub(in crate::commands) fn sysctl(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => invalid(format!("invalid value {text:?} for --sysctl: use KEY=VALUE")),
    }
}

/// Whether this is a part of an SELinux label, or a word about it: `disable`, `nested`, `type:TYPE`, …
pub(in crate::commands) fn is_label(text: &str) -> bool {
    let is_part = |(part, value): (&str, &str)| {
        matches!(part, "user" | "role" | "type" | "level" | "filetype") && !value.is_empty()
    };
    matches!(text, "disable" | "nested") || text.split_once(':').is_some_and(is_part)
}
