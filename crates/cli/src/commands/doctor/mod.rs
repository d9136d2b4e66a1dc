//! `doctor`: what of this machine loment needs, whether it is there, and what to do where it is not.
//!
//! Each subject is a file. What the kernel can do is tried, in processes with namespaces of their own that end at once. Nothing of
//! the machine or the store is changed, and what cannot be found out is said to be so.

mod cgroups;
mod clock;
mod ids;
mod kernel;
mod limits;
mod programs;
mod registries;
mod security;
mod storage;
mod tried;

use std::fmt::Display;

use clap::Parser;
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print};

/// Check whether this machine has what loment needs, and say what to do where it has not
///
/// Nothing is changed. The status is 1 when something is a problem.
#[derive(Parser, Debug)]
pub(in crate::commands) struct Flags {
    /// Print as json, or each finding with a Go template: .Subject, .Verdict, .Finding, .Advice
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print problems only
    #[arg(short, long)]
    quiet: bool,
    /// Ask the registries that are configured whether they answer
    #[arg(long)]
    registries: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Fine,
    /// Something does not work that not everybody needs, or could not be found out.
    Note,
    /// Containers do not work, or not as they should.
    Problem,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// What was found about one thing.
#[derive(Debug)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    text: String,
    /// What to do; empty where there is nothing to be done.
    advice: String,
}

/// What is found about a subject.
struct Findings {
    subject: &'static str,
    all: Vec<Finding>,
}

impl Findings {
    const fn about(subject: &'static str) -> Self {
        Self { subject, all: Vec::new() }
    }

    fn fine(&mut self, text: impl Display) {
        self.add(Verdict::Fine, text, "");
    }

    fn note(&mut self, text: impl Display, advice: impl Display) {
        self.add(Verdict::Note, text, advice);
    }

    fn problem(&mut self, text: impl Display, advice: impl Display) {
        self.add(Verdict::Problem, text, advice);
    }

    fn add(&mut self, verdict: Verdict, text: impl Display, advice: impl Display) {
        let (text, advice) = (text.to_string(), advice.to_string());
        self.all.push(Finding { subject: self.subject, verdict, text, advice });
    }
}

pub(in crate::commands) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let mut all = kernel::find(globals);
    all.extend(ids::find());
    all.extend(cgroups::find());
    all.extend(storage::find(globals));
    all.extend(registries::find(globals));
    all.extend(clock::find(globals));
    all.extend(limits::find());
    all.extend(security::find());
    all.extend(programs::find());
    // Last: it has threads, and processes are made only where there are none.
    if flags.registries {
        all.extend(registries::ask(globals));
    }
    let is_bad = all.iter().any(|finding| finding.verdict == Verdict::Problem);
    if flags.quiet {
        all.retain(|finding| finding.verdict == Verdict::Problem);
    }
    print(&match flags.format.as_deref() {
        None => lines(&all),
        Some("json") => format!("{:#}\n", Value::from(all.iter().map(record).collect::<Vec<_>>())),
        Some(template) => {
            let headers = [
                ("Subject", "SUBJECT"),
                ("Verdict", "VERDICT"),
                ("Finding", "FINDING"),
                ("Advice", "ADVICE"),
            ];
            by_template(template, &headers, &all.iter().map(record).collect::<Vec<_>>())?
        }
    })?;
    Ok(u8::from(is_bad))
}

fn record(finding: &Finding) -> Value {
    let Finding { subject, verdict, text, advice } = finding;
    json!({"Subject": subject, "Verdict": verdict.name(), "Finding": text, "Advice": advice})
}

/// A line for each finding, and one below it for what to do.
fn lines(all: &[Finding]) -> String {
    let shown = |finding: &Finding| {
        let line = format!("{:<8} {:<11} {}\n", finding.verdict.name(), finding.subject, finding.text);
        match finding.advice.as_str() {
            "" => line,
            advice => format!("{line}{:21}-> {advice}\n", ""),
        }
    };
    all.iter().map(shown).collect()
}
