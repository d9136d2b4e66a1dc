//! How errors are shown.

use std::error::Error;
use std::fmt::Write;

/// An error and what caused it, on one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        let cause = e.to_string();
        if !text.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
        source = e.source();
    }
    // The number adds nothing to the words.
    while let Some(start) = text.find(" (os error ") {
        let Some(len) = text[start..].find(')') else { break };
        text.replace_range(start..=start + len, "");
    }
    text.replace('\n', " ")
}
