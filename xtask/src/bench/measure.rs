//! Running competitors in turn and comparing them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{WaitOptions, wait};

use crate::run::shown;

/// Longer than the kernel needs to take a container apart.
const PAUSE: Duration = Duration::from_millis(40);

/// One of those that are compared.
pub(crate) struct Subject {
    /// What is printed.
    pub(crate) name: String,
    /// Makes the command of one run; the number is another one each time.
    pub(crate) command: Box<dyn Fn(usize) -> Command>,
}

impl Subject {
    pub(crate) fn new(name: &str, command: impl Fn(usize) -> Command + 'static) -> Self {
        Self { name: name.to_owned(), command: Box::new(command) }
    }
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// Runs all subjects `runs` times, one after the other so that a disturbance hits all of them, and prints medians. The
/// first subject is what the others are compared with.
pub(crate) fn compare(title: &str, subjects: &[Subject], runs: usize) -> anyhow::Result<()> {
    println!("\n{title}: medians of {runs} interleaved runs");
    println!("  {:<44} {:>9} {:>9} {:>9} {:>8}", "", "wall ms", "min ms", "CPU ms", "ratio");
    let mut costs = vec![Vec::with_capacity(runs); subjects.len()];
    for run in 0..=runs {
        // Each round begins with another subject, and waits before each: the kernel takes namespaces and groups apart
        // after a run has ended, and the next one would pay for it.
        for turn in 0..subjects.len() {
            let turn = (turn + run) % subjects.len();
            std::thread::sleep(PAUSE);
            let cost = once(&mut (subjects[turn].command)(run))?;
            // The first round warms caches.
            if run > 0 {
                costs[turn].push(cost);
            }
        }
    }
    let reference = median(&costs[0], |c| c.wall);
    for (subject, costs) in subjects.iter().zip(&costs) {
        let wall = median(costs, |c| c.wall);
        let least = costs.iter().map(|c| c.wall).min().unwrap_or_default();
        let cpu = median(costs, |c| c.cpu);
        let ratio = wall.as_secs_f64() / reference.as_secs_f64();
        println!("  {:<44} {:>9} {:>9} {:>9} {ratio:>8.2}", subject.name, ms(wall), ms(least), ms(cpu));
    }
    Ok(())
}

fn ms(d: Duration) -> String {
    format!("{:.2}", d.as_secs_f64() * 1000.0)
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> Duration {
    let mut values: Vec<_> = costs.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Time until the command returns; CPU time of it and of everything it left running, once that has ended, too. We are
/// the subreaper of what it leaves, so the kernel adds it to our children's time.
fn once(command: &mut Command) -> anyhow::Result<Cost> {
    let before = children_cpu()?;
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", shown(command)))?
        .wait_with_output()
        .with_context(|| format!("wait for {}", shown(command)))?;
    let wall = start.elapsed();
    if !output.status.success() {
        bail!("{}: {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    reap();
    Ok(Cost { wall, cpu: children_cpu()?.saturating_sub(before) })
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

fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("read resource usage")?;
    let duration = |t: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(t.tv_sec() * 1_000_000 + t.tv_usec()).unwrap_or(0))
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        let costs: Vec<_> =
            [5, 1, 9].map(|s| Cost { wall: Duration::from_secs(s), cpu: Duration::from_secs(s * 2) }).into();
        assert_eq!(median(&costs, |c| c.wall), Duration::from_secs(5));
        assert_eq!(median(&costs, |c| c.cpu), Duration::from_secs(10));
        assert_eq!(median(&[], |c| c.wall), Duration::ZERO);
    }
}
