//! Documents that are made of the parsers: the tables of docs/compatibility.md, and man pages.

mod man;
mod owners;
mod peers;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::run::{target_directory, workspace};

/// The document with the tables.
const COMPATIBILITY: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- What follows is written by `cargo xtask docs`. -->\n";
const END: &str = "<!-- What was written ends here. -->\n";

/// `docs [--out DIR]`.
pub fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let out = match arguments {
        [] => target_directory()?.join("man"),
        ["--out", dir] => PathBuf::from(dir),
        other => bail!("unknown arguments {other:?}: use --out DIR"),
    };
    let path = workspace().join(COMPATIBILITY);
    fs::write(&path, compatibility()?).with_context(|| format!("write {}", path.display()))?;
    let pages = write_man_pages(&out)?;
    println!("{pages} man pages in {}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the man pages and returns how many.
pub fn write_man_pages(dir: &Path) -> anyhow::Result<usize> {
    man::write(dir)
}

/// What docs/compatibility.md is to be: what it says by itself, and the tables of now.
pub fn compatibility() -> anyhow::Result<String> {
    let path = workspace().join(COMPATIBILITY);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("{} has no place for tables", path.display()))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", tables::write()?))
}
