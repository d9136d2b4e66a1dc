//! Fuzzing: the parsers of what others write, with libFuzzer. The compiler's own instrumentation does; no other toolchain and no
//! other program of cargo's is needed, but a C++ compiler for libFuzzer.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::run::{build_in, succeed, target_directory, workspace};

/// What libFuzzer needs to see where the program goes, and what it compares.
const FLAGS: &str = "-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";
/// Enough for what a reader of the first page would find.
const SECONDS: u32 = 60;
/// Longer inputs find nothing that shorter ones do not.
const MAX_LENGTH: u32 = 16_384;

/// Each target for a moment, as every run of the tests does.
pub fn smoke() -> anyhow::Result<()> {
    targets()?.iter().try_for_each(|target| fuzz(target, 10))
}

/// `fuzz [TARGET…] [--seconds N]`: each target for a time; what is found stays in the corpus, and an input that breaks the
/// program is named.
pub fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let (mut names, mut seconds) = (Vec::new(), SECONDS);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let number = words.next().context("--seconds needs a number")?;
                seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
            }
            name => names.push(name.to_owned()),
        }
    }
    let targets = targets()?;
    if let Some(unknown) = names.iter().find(|n| !targets.contains(n)) {
        bail!("there is no target {unknown}: choose from {}", targets.join(" "));
    }
    let chosen = if names.is_empty() { targets } else { names };
    chosen.iter().try_for_each(|target| fuzz(target, seconds))?;
    Ok(ExitCode::SUCCESS)
}

/// The names of the files in fuzz/targets.
fn targets() -> anyhow::Result<Vec<String>> {
    let dir = workspace().join("fuzz/targets");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    let stem = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(|e| stem(e.path())).collect();
    names.sort();
    Ok(names)
}

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    let dir = workspace().join("fuzz");
    let built = target_directory()?.join("fuzz");
    let to = built.to_str().context("the target directory has a name that is no text")?;
    let arguments = ["--profile", "fuzz", "--target-dir", to, "--package", "loment-fuzz", "--bin", target];
    let program = build_in(&dir, &arguments, target, FLAGS)?;
    let work = built.join(target);
    let corpus = work.join("corpus");
    std::fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
    let mut command = Command::new(program);
    command.arg(&corpus).arg(dir.join("seeds").join(target)).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={MAX_LENGTH}")).args([
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]);
    command.arg(format!("-artifact_prefix={}/", work.display())).args(["-verbosity=0"]);
    let dictionary = dir.join(format!("{target}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    println!("== fuzz {target} for {seconds} s, corpus in {}", corpus.display());
    succeed(&mut command)
}
