//! `cargo xtask test`: every check, in the order in which failures are cheapest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::{fuzz, leaks, packages, run, symbols};

/// Runs everything and prints a table of steps; the first failing step ends it, but for the look for leaks.
pub fn run() -> anyhow::Result<ExitCode> {
    if !packages::is_root()? {
        bail!("tests make real containers: run as root, for example `sudo -E cargo xtask test`");
    }
    let machine = leaks::Machine::here(run::workspace());
    let before = machine.look()?;
    for line in &before {
        println!("was there before the tests, not counted: {line}");
    }
    let mut steps = Steps::default();
    let checked = checks(&mut steps);
    let left = machine.look_patiently(&before)?;
    let clean = leaks::report(&left)?;
    steps.print();
    let skips = skipped()?;
    for skip in &skips {
        println!("{skip}");
    }
    println!("skipped: {} checks", skips.len());
    checked?;
    Ok(clean)
}

fn checks(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("install packages", || packages::install(packages::TESTS))?;
    steps.run("install cargo-nextest", packages::install_nextest)?;
    steps.run("format", || run::succeed(&mut run::cargo(["fmt", "--all", "--check"])))?;
    steps.run("clippy", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        run::succeed(&mut run::cargo(clippy))
    })?;
    let mut binary = PathBuf::new();
    steps.run("build", || {
        binary = run::build(&["--workspace", "--all-targets"])?;
        Ok(())
    })?;
    steps.run("symbols", || {
        let violations = symbols::violations(&binary)?;
        if !violations.is_empty() {
            bail!("the binary breaks its link-time rules: {}", violations.join("; "));
        }
        Ok(())
    })?;
    // Before nextest, whose summary stays the last thing a reader of the log sees of the tests.
    steps.run("documentation tests", || {
        run::succeed(&mut run::cargo(["test", "--doc", "--workspace", "--locked", "--quiet"]))
    })?;
    steps.run("fuzz, a little", fuzz::smoke)?;
    steps.run("tests as an ordinary user", || run::succeed(&mut as_user()))?;
    steps.run("tests with copies", || run::succeed(&mut with_copies()))?;
    steps.run("tests", || {
        forget_results()?;
        run::succeed(&mut run::cargo(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]))
    })
}

/// End-to-end tests that hold for an ordinary user's containers as for root's.
const OF_USERS: &str = "attach|diff|environment|events|exec|filesystem|init|lifecycle|logs|monitor|names|pods|stopping|templates|terminal";

/// Those of them that do not, and why.
const NOT_OF_USERS: [(&str, &str); 6] = [
    ("exec::annotations_of_the_container_hold_for_what_enters_it", "the user has no further groups"),
    (
        "filesystem::the_target_of_a_mount_is_resolved_inside_the_container",
        "an image with owners that the user has not",
    ),
    ("filesystem::what_goes_with_the_container_is_not_flushed", "users that are mapped"),
    ("pods::clone::a_copy_has_what_the_pod_has_and_copies_of_its_members", "limits"),
    ("pods::members::volumes_limits_and_users_of_a_pod_are_those_of_its_members", "limits"),
    ("pods::life::a_pod_is_paused_as_a_whole", "pauses"),
];

/// End-to-end tests of files, for containers with a copy of all files of their image. Others hold, too.
const OF_COPIES: &str = "attach|clone|commit|container_mount|cp|diff|environment|filesystem|image_mounts";

/// Those of them that see the overlay.
const NOT_OF_COPIES: [(&str, &str); 2] = [
    ("container_mount::what_is_changed_in_the_mount_is_changed_in_the_container_and_back", "its root is /"),
    ("filesystem::what_goes_with_the_container_is_not_flushed", "its options are looked at"),
];

/// End-to-end tests that are left out of a run of their modules.
pub fn left_out() -> impl Iterator<Item = &'static str> {
    NOT_OF_USERS.iter().chain(&NOT_OF_COPIES).map(|(test, _)| *test)
}

fn as_user() -> std::process::Command {
    some(OF_USERS, &NOT_OF_USERS, "LOMENT_TEST_USER")
}

fn with_copies() -> std::process::Command {
    some(OF_COPIES, &NOT_OF_COPIES, "LOMENT_TEST_COPIES")
}

/// Some modules' tests once more, with a variable.
fn some(modules: &str, but: &[(&str, &str)], variable: &str) -> std::process::Command {
    let but: String = but.iter().map(|(test, _)| format!(" - test(={test})")).collect();
    let tests = format!("test(/^({modules})::/){but}");
    let mut nextest =
        run::cargo(["nextest", "run", "--package", "loment", "--test", "e2e", "--locked", "--no-fail-fast"]);
    nextest.arg("--filterset").arg(tests).env(variable, "1");
    nextest
}

/// What was done and how long it took.
#[derive(Debug, Default)]
struct Steps(Vec<(&'static str, Duration, bool)>);

impl Steps {
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        println!("== {name}");
        let start = Instant::now();
        let result = step();
        self.0.push((name, start.elapsed(), result.is_ok()));
        println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
        result.with_context(|| format!("step {name}"))
    }

    fn print(&self) {
        for (name, took, good) in &self.0 {
            println!("{:>8.1} s  {}  {name}", took.as_secs_f64(), if *good { "ok    " } else { "failed" });
        }
    }
}

fn junit() -> anyhow::Result<PathBuf> {
    Ok(run::target_directory()?.join("nextest/default/junit.xml"))
}

/// Results of an earlier run must not be taken for those of this one.
fn forget_results() -> anyhow::Result<()> {
    let path = junit()?;
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Every distinct skip that the last run of nextest recorded.
fn skipped() -> anyhow::Result<BTreeSet<String>> {
    let path = junit()?;
    if !Path::new(&path).exists() {
        return Ok(BTreeSet::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(skip_lines(&text))
}

/// Tests print `skipped: WHAT because WHY`; nextest's JUnit file keeps the output of those that pass.
fn skip_lines(junit: &str) -> BTreeSet<String> {
    let lines = junit.split(['\n', '>']).map(str::trim).filter(|l| l.starts_with("skipped:"));
    lines.map(|l| unescaped(l.split('<').next().unwrap_or(l))).collect()
}

fn unescaped(xml: &str) -> String {
    xml.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_read_from_the_output_of_passing_tests() {
        let junit = "<testcase name=\"a\"><system-out>skipped: x, because &quot;y&quot; is missing\n\
                     running 1 test\nskipped: z, because w</system-out></testcase>\n\
                     <testcase name=\"b\"><system-out>not skipped: q\nskipped: z, because w</system-out></testcase>";
        let lines = skip_lines(junit);
        assert_eq!(
            lines.iter().collect::<Vec<_>>(),
            ["skipped: x, because \"y\" is missing", "skipped: z, because w"]
        );
    }
}
