//! `cargo xtask docs`: documents that are made of the parsers, which are the tables of docs/compatibility.md, and man pages.
//!
//! It is a program of its own because it is linked with the whole command line, and `cargo xtask vm-test` copies xtask into its machine.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer program talks to its terminal")]

mod man;
mod owners;
mod peers;
mod tables;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use xtask::run::{target_directory, workspace};

/// The document with the tables.
const COMPATIBILITY: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- What follows is written by `cargo xtask docs`. -->\n";
const END: &str = "<!-- What was written ends here. -->\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// `[--out DIR]` writes all; `--check DIR` writes man pages only, and fails when the tables are not those of now.
fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let path = workspace().join(COMPATIBILITY);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let made = compatibility(&text)?;
    let out = match arguments {
        ["--check", _] if made != text => bail!("{COMPATIBILITY} is stale: run `cargo xtask docs`"),
        [] => target_directory()?.join("man"),
        ["--out" | "--check", dir] => PathBuf::from(dir),
        other => bail!("unknown arguments {other:?}: use --out DIR"),
    };
    if made != text {
        fs::write(&path, made).with_context(|| format!("write {}", path.display()))?;
    }
    println!("{} man pages in {}", man::write(&out)?, out.display());
    Ok(())
}

/// What docs/compatibility.md is to be: what it says by itself, and the tables of now.
fn compatibility(text: &str) -> anyhow::Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("{COMPATIBILITY} has no place for tables"))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", tables::write()?))
}
