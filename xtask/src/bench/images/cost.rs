//! What one long command costs, from time(1).

use std::process::{Command, Stdio};

use anyhow::Context;

use crate::run::{shown, succeed};

/// What one command cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Seconds.
    pub(super) wall: f64,
    /// Seconds, of all its processes that were waited for.
    pub(super) cpu: f64,
    /// Largest resident set of one process, KiB.
    pub(super) memory: u64,
}

/// Runs it through time(1): wall and CPU seconds, and the memory of the largest process.
pub(super) fn once(words: &[String]) -> anyhow::Result<Cost> {
    let report = tempfile::NamedTempFile::new().context("make a file")?;
    let mut time = Command::new("time");
    time.args(["--format", "%e %U %S %M", "--output"]).arg(report.path()).args(words);
    succeed(time.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let text = std::fs::read_to_string(report.path()).context("read what time says")?;
    cost(&text).with_context(|| format!("time says {text:?} of {}", shown(&time)))
}

/// A line as time(1) was asked for it.
fn cost(text: &str) -> Option<Cost> {
    let mut words = text.split_whitespace();
    let mut seconds = || words.next()?.parse::<f64>().ok();
    let (wall, user, system) = (seconds()?, seconds()?, seconds()?);
    Some(Cost { wall, cpu: user + system, memory: words.next()?.parse().ok()? })
}

/// Prints medians, and how they compare with the first row's. Rows without costs are left out.
pub(super) fn table<'n>(title: &str, rows: impl IntoIterator<Item = (&'n str, &'n [Cost])>) {
    let mut rows = rows.into_iter().filter(|(_, costs)| !costs.is_empty()).peekable();
    if rows.peek().is_none() {
        return;
    }
    println!(
        "  {title:<24} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "wall s", "ratio", "CPU s", "ratio", "memory MiB"
    );
    let mut first = None;
    for (name, costs) in rows {
        let (wall, cpu) = (median(costs, |c| c.wall), median(costs, |c| c.cpu));
        let (first_wall, first_cpu) = *first.get_or_insert((wall, cpu));
        let memory = costs.iter().map(|c| c.memory).max().unwrap_or_default();
        println!(
            "  {name:<24} {wall:>8.2} {:>8} {cpu:>8.2} {:>8} {:>10.1}",
            ratio(wall, first_wall),
            ratio(cpu, first_cpu),
            mib(memory)
        );
    }
}

/// How often one is in the other, which may be less than time(1) tells.
fn ratio(one: f64, of: f64) -> String {
    if of > 0.0 { format!("{:.2}", one / of) } else { "?".to_owned() }
}

/// KiB as MiB.
pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

pub(super) fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_says_is_read() {
        let read = cost("12.50 3.25 0.75 14700\n").unwrap();
        assert_eq!((read.wall, read.cpu, read.memory), (12.5, 4.0, 14_700));
        assert!(cost("Command exited with non-zero status 1\n").is_none());
    }
}
