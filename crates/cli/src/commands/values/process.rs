//! A program and its environment.

use std::path::Path;

use loment_engine::config::Attach;

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

/// `NAME=VALUE`; `NAME` for the value it has here, if it has one; or `PREFIX*` for all variables here whose names begin so.
pub(in crate::commands) fn environment(text: &str) -> Result<Vec<String>, Error> {
    if text.is_empty() || text.starts_with('=') {
        return invalid(format!("invalid environment variable {text:?}: use NAME=VALUE"));
    }
    if text.contains('=') {
        return Ok(vec![text.to_owned()]);
    }
    if let Some(prefix) = text.strip_suffix('*') {
        return Ok(own_environment(prefix));
    }
    Ok(std::env::var(text).ok().map(|value| format!("{text}={value}")).into_iter().collect())
}

/// The variables here whose names begin with `prefix`. One that is no text cannot be kept, and is left out.
pub(in crate::commands) fn own_environment(prefix: &str) -> Vec<String> {
    let all = std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    all.filter(|(name, _)| name.starts_with(prefix)).map(|(name, value)| format!("{name}={value}")).collect()
}

/// Names of streams; `None` when there are none.
pub(in crate::commands) fn attach(names: &[String]) -> Result<Option<Attach>, Error> {
    let mut streams = Attach::default();
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => streams.stdin = true,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => {
                return invalid(format!(
                    "invalid stream {name:?} for --attach - must be one of stdin, stdout, or stderr"
                ));
            }
        }
    }
    Ok((!names.is_empty()).then_some(streams))
}

/// `--umask`
pub(in crate::commands) fn umask(text: &str) -> Result<u32, Error> {
    let is_octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mask = u32::from_str_radix(text, 8).ok().filter(|&mask| is_octal && mask <= 0o777);
    mask.map_or_else(|| invalid(format!("invalid umask string {text}: use an octal number such as 0022")), Ok)
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

    #[test]
    fn masks_are_octal_and_streams_have_names() {
        assert_eq!((umask("77").unwrap(), umask("0027").unwrap()), (0o77, 0o27));
        for bad in ["", "8", "99", "+7", "1777", "00022", "0o22"] {
            assert!(umask(bad).is_err(), "{bad:?}");
        }
        let streams = |names: &[&str]| attach(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(streams(&[]).unwrap(), None);
        let both = Attach { stdin: true, stdout: false, stderr: true };
        assert_eq!(streams(&["STDIN", "stderr"]).unwrap(), Some(both));
        assert!(streams(&["stdlog"]).is_err());
    }
}
