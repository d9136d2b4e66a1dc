//! Other people's judgement: of our runtime, by the validation programs of opencontainers/runtime-tools and the groups of youki's
//! contest, run on ours and on runc; of our command line, by Podman's own tests of theirs.
//!
//! A checkout, and the Go toolchain or the libraries that it is compiled with, are brought by whoever calls this.

mod contest;
mod outcome;
mod patience;
mod podman;
mod validation;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::packages;
use crate::run::{build_loment, which, workspace};
use contest::Contest;
use outcome::Outcome;
use validation::Programs;

/// Who judges.
enum Suite {
    Validation(Programs),
    Contest(Contest),
}

impl Suite {
    fn compile(checkout: &Path, names: &[&str]) -> anyhow::Result<Self> {
        if checkout.join("validation").is_dir() {
            Programs::compile(checkout, names).map(Self::Validation)
        } else if checkout.join("tests/contest").is_dir() {
            Contest::compile(checkout, names).map(Self::Contest)
        } else {
            bail!("{} is no checkout of runtime-tools, youki or podman", checkout.display())
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Validation(programs) => programs.names(),
            Self::Contest(contest) => contest.names(),
        }
    }

    fn judge(&self, name: &str, runtime: &Path) -> anyhow::Result<Outcome> {
        match self {
            Self::Validation(programs) => programs.judge(name, runtime),
            Self::Contest(contest) => contest.judge(name, runtime),
        }
    }

    /// Its part of docs/conformance.md.
    fn heading(&self) -> &'static str {
        match self {
            Self::Validation(_) => "## runtime-tools",
            Self::Contest(_) => "## youki's contest",
        }
    }
}

/// `conformance CHECKOUT [NAME…]`: fails when something that runc passes fails with ours and is not in docs/conformance.md.
pub fn run(checkout: &Path, names: &[&str]) -> anyhow::Result<ExitCode> {
    if !packages::is_root()? {
        bail!("the judges make real containers: run as root");
    }
    let checkout = checkout.canonicalize().with_context(|| format!("open {}", checkout.display()))?;
    if checkout.join(podman::TESTS).is_dir() {
        return podman::run(&checkout, names);
    }
    let suite = Suite::compile(&checkout, names)?;
    let directory = tempfile::tempdir().context("make a directory")?;
    // A copy: links are resolved by some, and the name says what the binary is.
    let ours = directory.path().join("loment-runtime");
    std::fs::copy(build_loment("dev")?, &ours).context("copy the binary")?;
    let control = which("runc").context("runc is the control: install it")?;
    let documented = documented(suite.heading())?;
    let mut worse = Vec::new();
    println!("{:<40} {:>18} {:>18}", "", "ours ok/not ok", "runc ok/not ok");
    for name in suite.names() {
        let (a, b) = (suite.judge(&name, &ours)?, suite.judge(&name, &control)?);
        let is_worse = a.is_worse_than(&b);
        let mark = match (is_worse, documented.contains(&name)) {
            (true, true) => "  explained in docs/conformance.md",
            (true, false) => "  WORSE",
            _ => "",
        };
        println!("{name:<40} {:>18} {:>18}{mark}", a.to_string(), b.to_string());
        if is_worse && !documented.contains(&name) {
            worse.push(name);
        }
    }
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("worse than runc, and not explained: {}", worse.join(" "));
    Ok(ExitCode::FAILURE)
}

/// Whose difference from runc docs/conformance.md explains: the first column of the table below a heading.
fn documented(heading: &str) -> anyhow::Result<Vec<String>> {
    Ok(rows(heading)?.into_iter().map(|(name, _)| name).collect())
}

/// Such rows, with what follows in their second column.
fn rows(heading: &str) -> anyhow::Result<Vec<(String, String)>> {
    let path = workspace().join("docs/conformance.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let part = text.lines().skip_while(|l| *l != heading).skip(1).take_while(|l| !l.starts_with("## "));
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split(" |").next().unwrap_or_default().to_owned()))
    };
    Ok(part.filter_map(row).collect())
}
