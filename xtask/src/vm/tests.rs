//! Choosing tests and running them in the machine.
//!
//! Tests are ordinary ones of the package `loment`: those of its test program `vm`, which are ignored elsewhere, and, where
//! asked for, those of `e2e`. Each runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use loment_testkit::Fixtures;

use super::boot::{self, Groups, Security, Setting};
use super::image::Image;
use super::protocol::{Outcome, Task};
use crate::{packages, run};

/// Tests in modules of these names need the v2 hierarchy.
const V2_ONLY: &[&str] = &["v2::", "user::", "sessions::", REBOOTS, SELINUX];

/// Tests in this module have a boot of their own, with SELinux.
const SELINUX: &str = "selinux::";

/// Tests in this module run in a session of an ordinary user.
const AS_USER: &str = "user::";

/// Tests in this module reboot the machine.
const REBOOTS: &str = "reboots::";

/// Runs the tests of `vm` that have one of `names` in their name (all, when no name and no end-to-end filter is given), and
/// those of `e2e` that have one of `end_to_end` in theirs, once for each arrangement of control groups.
pub fn run(
    image: &Image,
    groups: &[Groups],
    names: &[String],
    end_to_end: &[String],
) -> anyhow::Result<ExitCode> {
    let mut tasks = Vec::new();
    let mut shared = Vec::new();
    if end_to_end.is_empty() || !names.is_empty() {
        let program = Program::build("vm", &mut shared)?;
        let chosen = chosen(program.tests(true)?, names)?;
        tasks.extend(chosen.iter().map(|name| program.task(name)));
    }
    if !end_to_end.is_empty() {
        let program = Program::build("e2e", &mut shared)?;
        let chosen = chosen(program.tests(false)?, end_to_end)?;
        tasks.extend(chosen.iter().map(|name| program.task(name)));
        shared.push(fixtures(&program)?);
    }
    let share = boot::share(&shared)?;
    let mut all = Tally::default();
    for groups in groups {
        if !tasks.iter().any(|t| runs_with(*groups, &t.name)) {
            println!("none of these tests runs with {}", groups.name());
        }
        for security in Security::ALL {
            let setting = Setting { groups: *groups, security };
            let tasks: Vec<Task> = tasks.iter().filter(|t| runs_in(setting, &t.name)).cloned().collect();
            if !tasks.is_empty() {
                boot::run(image, setting, &share, &tasks, |o| println!("{}", all.count(*groups, &o)))?;
            }
        }
    }
    println!("{} tests passed, {} failed, {} checks skipped", all.passed, all.failed.len(), all.skipped);
    for name in &all.failed {
        println!("FAILED {name}");
    }
    Ok(if all.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runs_with(groups: Groups, name: &str) -> bool {
    groups == Groups::V2 || !V2_ONLY.iter().any(|module| name.starts_with(module))
}

/// Whether a test is for a boot.
fn runs_in(Setting { groups, security }: Setting, name: &str) -> bool {
    runs_with(groups, name) && (security == Security::Selinux) == name.starts_with(SELINUX)
}

/// The images that end-to-end tests pull, made here, where it is faster. They lie where cargo tells tests to keep their files
/// (`CARGO_TARGET_TMPDIR`): in `tmp` beside the profile's directory.
fn fixtures(program: &Program) -> anyhow::Result<PathBuf> {
    packages::install(packages::TESTS)?;
    let directory =
        program.0.ancestors().nth(3).context("cargo's directories are arranged in another way")?.join("tmp");
    drop(Fixtures::cached(&directory));
    Ok(directory)
}

/// A test program.
struct Program(PathBuf);

impl Program {
    /// Builds it and the binary it tests, and adds both to what is shared.
    fn build(name: &str, shared: &mut Vec<PathBuf>) -> anyhow::Result<Self> {
        let built = run::build_test("loment", name)?;
        for path in [&built.program, &built.loment] {
            if !shared.contains(path) {
                shared.push(path.clone());
            }
        }
        Ok(Self(built.program))
    }

    /// The names of its tests: those that are ignored, or the others.
    fn tests(&self, ignored: bool) -> anyhow::Result<Vec<String>> {
        let list = |more: &[&str]| -> anyhow::Result<Vec<String>> {
            let arguments = ["--list", "--format", "terse"].iter().chain(more);
            Ok(listed(&run::output(Command::new(&self.0).args(arguments))?))
        };
        let with_attribute = list(&["--ignored"])?;
        if ignored {
            return Ok(with_attribute);
        }
        Ok(list(&[])?.into_iter().filter(|name| !with_attribute.contains(name)).collect())
    }

    fn task(&self, name: &str) -> Task {
        let words = [path(&self.0), "--exact", name, "--include-ignored", "--nocapture"];
        let command = words.map(str::to_owned).to_vec();
        let task = if name.starts_with(AS_USER) { Task::of_user } else { Task::of_root };
        Task { reboots: name.starts_with(REBOOTS), ..task(name, command) }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("cargo names its files in UTF-8")
}

/// What a test program lists: lines `NAME: test`.
fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|l| l.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Those that have one of `filters` in their name; every filter must be of use.
fn chosen(tests: Vec<String>, filters: &[String]) -> anyhow::Result<Vec<String>> {
    if let Some(useless) = filters.iter().find(|f| !tests.iter().any(|t| t.contains(f.as_str()))) {
        bail!("no test has {useless:?} in its name");
    }
    let wanted = |t: &String| filters.is_empty() || filters.iter().any(|f| t.contains(f.as_str()));
    Ok(tests.into_iter().filter(wanted).collect())
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Tally {
    /// Counts a test, and says what of it is worth reading.
    fn count(&mut self, groups: Groups, outcome: &Outcome) -> String {
        let verdict = if outcome.status == 0 { "ok    " } else { "FAILED" };
        let name = format!("{} {}", groups.name(), outcome.name);
        let mut report = vec![format!("{verdict} {:>6.1} s  {name}", outcome.seconds)];
        let skips: Vec<&str> = outcome.output.lines().filter_map(skip).collect();
        self.skipped += skips.len();
        if outcome.status == 0 {
            self.passed += 1;
            report.extend(skips.iter().map(|skip| format!("    {skip}")));
        } else {
            report.push(format!("    status {}", outcome.status));
            report.extend(outcome.output.lines().map(|line| format!("    {line}")));
            self.failed.push(name);
        }
        report.join("\n")
    }
}

/// A skipped check's line. Without capture, it may stand behind libtest's own `test NAME ... `.
fn skip(line: &str) -> Option<&str> {
    line.find("skipped: ").map(|at| &line[at..])
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn names_are_chosen_by_parts_of_them() {
        let all = || listed("a::one: test\nb::two: test\nb::three: benchmark\n\n2 tests, 0 benchmarks\n");
        assert_eq!(all(), ["a::one", "b::two"]);
        assert_eq!(chosen(all(), &[]).unwrap(), all());
        assert_eq!(chosen(all(), &["tw".to_owned()]).unwrap(), ["b::two"]);
        assert!(chosen(all(), &["a::".to_owned(), "three".to_owned()]).is_err());
    }

    #[test]
    fn only_v2_has_what_its_tests_and_users_need() {
        assert!(runs_with(Groups::V1, "limits::x") && runs_with(Groups::V2, "v2::x"));
        assert!(!runs_with(Groups::V1, "v2::x") && !runs_with(Groups::Hybrid, "user::x"));
    }

    #[test]
    fn a_test_runs_with_one_security_module() {
        let runs = |groups, security, name: &str| runs_in(Setting { groups, security }, name);
        for (name, with) in [("apparmor::x", Security::AppArmor), ("selinux::x", Security::Selinux)] {
            let boots: Vec<Security> =
                Security::ALL.into_iter().filter(|security| runs(Groups::V2, *security, name)).collect();
            assert_eq!(boots, [with], "{name}");
        }
        assert!(runs(Groups::V1, Security::AppArmor, "apparmor::x"));
        assert!(!runs(Groups::V1, Security::Selinux, "selinux::x"));
    }

    #[test]
    fn outcomes_are_counted() {
        let outcome = |name: &str, status| Outcome {
            name: name.into(),
            status,
            seconds: 1.0,
            output: "test x ... skipped: y, because z\nok\n".into(),
        };
        let mut tally = Tally::default();
        assert!(tally.count(Groups::V2, &outcome("good", 0)).ends_with("v2 good\n    skipped: y, because z"));
        assert!(tally.count(Groups::V1, &outcome("bad", 101)).ends_with("\n    ok"));
        assert_eq!((tally.passed, tally.skipped), (1, 2));
        assert_eq!(tally.failed, ["v1 bad"]);
    }
}
