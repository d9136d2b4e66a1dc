//! Running competitors in turn and comparing them.

use std::io::Seek;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{WaitOptions, wait};

use crate::run::{shown, which};

/// Longer than the kernel needs to take a container apart.
const PAUSE: Duration = Duration::from_millis(40);

/// What takes longer is run only [`FEW`] times: nobody waits minutes for a more exact number of it.
const SLOW: Duration = Duration::from_secs(2);
const FEW: usize = 2;

/// What takes longer is not run under strace, where it would take minutes.
const COUNTED: Duration = Duration::from_millis(500);

/// One of those that are compared.
pub(crate) struct Subject {
    /// What is printed.
    name: String,
    /// Makes the commands of one run, which come one after the other; the number is another one each time.
    commands: Box<dyn Fn(usize) -> Vec<Command>>,
}

impl Subject {
    /// Whose run is one command.
    pub(crate) fn new(name: &str, command: impl Fn(usize) -> Command + 'static) -> Self {
        Self::of_several(name, move |run| vec![command(run)])
    }

    /// The commands of one run.
    pub(super) fn commands_of(&self, run: usize) -> Vec<Command> {
        (self.commands)(run)
    }

    /// Whose run is several commands.
    pub(crate) fn of_several(name: &str, commands: impl Fn(usize) -> Vec<Command> + 'static) -> Self {
        Self { name: name.to_owned(), commands: Box::new(commands) }
    }
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// Of it and of all that it left running.
    pub(super) cpu: Duration,
    /// Minor page faults.
    faults: i64,
}

/// Runs all subjects `runs` times, one after the other so that a disturbance hits all of them, and prints medians. The
/// first subject is what the others are compared with. System calls are counted apart, in a run that is not timed.
pub(crate) fn compare(title: &str, subjects: &[Subject], runs: usize) -> anyhow::Result<()> {
    medians(title, subjects, runs).map(drop)
}

/// The same of what moves so many MiB each time; prints how fast that is.
pub(crate) fn compare_throughput(
    title: &str,
    subjects: &[Subject],
    runs: usize,
    mib: usize,
) -> anyhow::Result<()> {
    let medians = medians(&format!("{title}, {mib} MiB"), subjects, runs)?;
    for (subject, wall) in subjects.iter().zip(medians) {
        println!("  {:<44} {:>9.0} MiB/s", subject.name, mib as f64 / wall.as_secs_f64());
    }
    Ok(())
}

fn medians(title: &str, subjects: &[Subject], runs: usize) -> anyhow::Result<Vec<Duration>> {
    println!("\n{title}: medians of {runs} interleaved runs");
    println!(
        "  {:<44} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "", "wall ms", "min ms", "CPU ms", "ratio", "faults", "calls"
    );
    let mut costs = vec![Vec::with_capacity(runs); subjects.len()];
    for run in 0..=runs {
        // Each round begins with another subject, and waits before each: the kernel takes namespaces and groups apart
        // after a run has ended, and the next one would pay for it.
        for turn in 0..subjects.len() {
            let turn = (turn + run) % subjects.len();
            if run > FEW && costs[turn].iter().any(|cost: &Cost| cost.wall > SLOW) {
                continue;
            }
            std::thread::sleep(PAUSE);
            let cost = once((subjects[turn].commands)(run))?;
            // The first round warms caches.
            if run > 0 {
                costs[turn].push(cost);
            }
        }
    }
    let walls: Vec<_> = costs.iter().map(|costs| median(costs, |c| c.wall)).collect();
    let reference = walls[0];
    for (subject, costs) in subjects.iter().zip(&costs) {
        let faults = median(costs, |c| c.faults);
        let wall = median(costs, |c| c.wall);
        let calls = if wall < COUNTED { calls((subject.commands)(runs + 1))? } else { None };
        let calls = calls.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let least = costs.iter().map(|c| c.wall).min().unwrap_or_default();
        let cpu = median(costs, |c| c.cpu);
        let ratio = wall.as_secs_f64() / reference.as_secs_f64();
        let (wall, least, cpu) = (ms(wall), ms(least), ms(cpu));
        println!("  {:<44} {wall:>9} {least:>9} {cpu:>9} {ratio:>8.2} {faults:>8} {calls:>8}", subject.name);
    }
    Ok(walls)
}

fn ms(d: Duration) -> String {
    format!("{:.2}", d.as_secs_f64() * 1000.0)
}

fn median<T: Ord + Copy + Default>(costs: &[Cost], of: impl Fn(&Cost) -> T) -> T {
    let mut values: Vec<_> = costs.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Time until the commands return; CPU time and page faults of them and of everything they left running, once that has
/// ended, too. We are the subreaper of what they leave, so the kernel adds it to our children's.
pub(super) fn once(commands: Vec<Command>) -> anyhow::Result<Cost> {
    let before = children()?;
    let start = Instant::now();
    commands.into_iter().try_for_each(|mut command| succeed(&mut command))?;
    let wall = start.elapsed();
    reap();
    let after = children()?;
    Ok(Cost { wall, cpu: after.0.saturating_sub(before.0), faults: after.1 - before.1 })
}

/// Runs it with nothing to read; what it says is shown when it fails. A container that it leaves behind may keep the file.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let said = tempfile::tempfile().context("make a file")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone().context("make a file")?);
    let status = command.status().with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        let mut said = said;
        said.rewind().context("read an error")?;
        bail!("{}: {status}\n{}", shown(command), std::io::read_to_string(said).context("read an error")?);
    }
    Ok(())
}

/// How many system calls the commands and what they start make, and where there are several, the shell that runs them;
/// `None` without strace(1).
fn calls(commands: Vec<Command>) -> anyhow::Result<Option<u64>> {
    let Some(strace) = which("strace") else { return Ok(None) };
    let table = tempfile::NamedTempFile::new().context("make a file")?;
    let mut counted = Command::new(&strace);
    counted.args(["-f", "-c", "-o"]).arg(table.path());
    match commands.as_slice() {
        [one] => counted.arg(one.get_program()).args(one.get_args()),
        // Of one strace: it waits for everything that is left of what it has started.
        several => counted.args(["sh", "-c", &several.iter().map(quoted).collect::<Vec<_>>().join("; ")]),
    };
    succeed(&mut counted)?;
    reap();
    let table = std::fs::read_to_string(table.path()).context("read strace's table")?;
    total(&table).with_context(|| format!("strace's table has no total: {table}")).map(Some)
}

/// For a shell. Our words have no quotes.
fn quoted(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| format!("'{}'", w.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// `100.00    0.001234           2       617        89 total`: the number of calls is the fourth; errors may be missing.
fn total(table: &str) -> Option<u64> {
    let line = table.lines().find(|l| l.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Collects what has ended; what still runs after a moment (a container's monitor) stays.
fn reap() {
    for _ in 0..200 {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

/// CPU time and minor page faults of the children that have ended.
fn children() -> anyhow::Result<(Duration, i64)> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("read resource usage")?;
    let duration = |t: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(t.tv_sec() * 1_000_000 + t.tv_usec()).unwrap_or(0))
    };
    Ok((duration(usage.user_time()) + duration(usage.system_time()), usage.minor_page_faults()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        let cost = |s| Cost { wall: Duration::from_secs(s), cpu: Duration::from_secs(s * 2), faults: 0 };
        let costs: Vec<_> = [5, 1, 9].map(cost).into();
        assert_eq!(median(&costs, |c| c.wall), Duration::from_secs(5));
        assert_eq!(median(&costs, |c| c.cpu), Duration::from_secs(10));
        assert_eq!(median(&[], |c| c.wall), Duration::ZERO);
    }

    #[test]
    fn straces_total_is_read_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n------\n 50.00    0.000100          10        10           read\n------\n";
        assert_eq!(
            total(&format!("{table}100.00    0.001234           2       617        89 total\n")),
            Some(617)
        );
        assert_eq!(
            total(&format!("{table}100.00    0.001234           2       617           total\n")),
            Some(617)
        );
        assert_eq!(total(table), None);
    }
}
