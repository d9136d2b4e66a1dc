//! Developer glue: everything a contributor or CI runs, as `cargo xtask COMMAND`.
//!
//! What it does: installs what tests need, runs every check ([`test`]), looks for what tests left on the machine
//! ([`leaks`]), holds the binary to its link-time rules ([`symbols`]), compares it with its peers ([`bench`]), runs
//! tests in a machine of its own ([`vm`]), has others judge the runtime ([`conformance`]), makes documents of the parsers (`bin/docs`), fuzzes parsers ([`fuzz`]). What it does not: anything the product needs to
//! work. It is a program for developers, so it prints, reads the environment and runs other programs.
//!
//! ```no_run
//! let leaks = xtask::leaks::Machine::here(std::path::Path::new(".")).look()?;
//! for leak in leaks {
//!     println!("{leak}");
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer program talks to its terminal")]

pub mod bench;
pub mod conformance;
pub mod fuzz;
pub mod leaks;
pub mod packages;
pub mod run;
pub mod symbols;
pub mod test;
pub mod vm;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test             install what tests need (Debian, root), then every check; what CI runs
  leaks            list what tests left on this machine; exit 1 when there is something
  bench [PART…] [--runs N] [--crun FILE] [--small]
                   ours beside Debian's crun, runc and Podman, and another crun; parts: runtime run exec queries memory
                   images, and of images, after that word: large ten list start memory scale
  vm [--suite SUITE] [--cache DIR] [--cgroups v2|hybrid|v1] [-- COMMAND…]
                   make the test machine's disk (root; SUITE is bookworm or trixie); with COMMAND, boot it and run that
  vm-test [--suite SUITE] [--cache DIR] [--cgroups v2|hybrid|v1]… [--e2e FILTER]… [NAME…]
                   run tests in that machine: all, those with NAME in their name, end-to-end tests with FILTER in theirs
  conformance CHECKOUT [NAME…]
                   have the tests of a checkout of opencontainers/runtime-tools (needs Go) or of youki (needs libseccomp)
                   judge ours and runc (root)
  docs [--out DIR] write what is made of the parsers: the tables of docs/compatibility.md, and man pages in DIR (default: target/man)
  fuzz [TARGET…] [--seconds N]
                   fuzz the parsers of fuzz/targets (C++ compiler), each for N seconds (default: 60)
  symbols [FILE]   check the link-time rules of the binary (default: build it in the dev profile)
";

/// Runs the command named by the first argument.
pub fn main(arguments: &[String]) -> ExitCode {
    match dispatch(arguments) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(),
        ["leaks"] => leaks::run(),
        ["symbols"] => symbols::run(&run::build_loment("dev")?),
        ["symbols", file] => symbols::run(file.as_ref()),
        ["bench", rest @ ..] => bench::run(rest),
        ["conformance", checkout, names @ ..] => conformance::run(checkout.as_ref(), names),
        ["docs", rest @ ..] => {
            let program = ["run", "--quiet", "--package", "xtask", "--bin", "docs", "--"];
            run::succeed(run::cargo(program).args(rest)).map(|()| ExitCode::SUCCESS)
        }
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["vm", rest @ ..] => vm::run(rest),
        ["vm-test", rest @ ..] => vm::run_tests(rest),
        ["vm-guest"] => vm::guest::run(),
        ["bench-view", rest @ ..] => bench::run_in_view(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("unknown arguments {other:?}\n{USAGE}"),
    }
}
