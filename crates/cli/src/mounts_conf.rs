//! mounts.conf: what the machine gives every container (containers-mounts.conf(5)).

use std::path::Path;

use loment_engine::config::Given;

use crate::ecosystem;
use crate::error::Error;

/// The file that a flag names, or the first there is of the user's (unless that is root), the administrator's and the distribution's.
/// What is not there is left out without a word, as with Podman: distributions name directories that few machines have.
pub(crate) fn given(chosen: Option<&Path>) -> Result<Vec<Given>, Error> {
    let text = match chosen {
        Some(path) => ecosystem::read(path)?,
        None => ecosystem::first("mounts.conf")?,
    };
    let Some(text) = text else { return Ok(Vec::new()) };
    let mut all = parse(text.file().text);
    all.retain(|given| given.source.exists());
    Ok(all)
}

/// Lines `SOURCE[:DESTINATION]`; what begins with something else than a path is a remark.
fn parse(text: &str) -> Vec<Given> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
    let given = |line: &str| {
        let (source, destination) = line.split_once(':').unwrap_or((line, line));
        Given { source: source.into(), destination: destination.into() }
    };
    lines.map(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_path_and_perhaps_another() {
        let given = |source: &str, destination: &str| Given {
            source: source.into(),
            destination: destination.into(),
        };
        let text = "# remark\n/a:/b\n  /c  \nd:/e\n\n";
        assert_eq!(parse(text), [given("/a", "/b"), given("/c", "/c")]);
    }
}
