//! A program and its environment.

use std::path::Path;

use super::invalid;
use crate::error::{Doing, Error};

/// An entry point: a JSON list, or one word; empty removes the image's.
pub(in crate::commands) fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(list) => list,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}

/// `NAME=VALUE`, or `NAME` for the value it has here; `None` when it has none.
pub(in crate::commands) fn environment(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() || text.starts_with('=') {
        return invalid(format!("invalid environment variable {text:?}: use NAME=VALUE"));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    if let Some(prefix) = text.strip_suffix('*') {
        return invalid(format!(
            "invalid environment variable {text:?}: patterns such as {prefix}* are not supported yet"
        ));
    }
    Ok(std::env::var(text).ok().map(|value| format!("{text}={value}")))
}

/// The lines of an environment file: comments and blank lines are left out.
pub(in crate::commands) fn environment_file(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).doing(|| format!("read environment file {}", path.display()))?;
    let mut out = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        out.extend(environment(line)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_is_a_list_or_a_word() {
        assert_eq!(entrypoint(r#"["a","b"]"#), ["a", "b"]);
        assert_eq!(entrypoint("/bin/sh"), ["/bin/sh"]);
    }
}
