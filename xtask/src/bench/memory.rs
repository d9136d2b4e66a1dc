//! P6: what a running container's supervisor costs.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use super::engine::engines;

const MANY: usize = 50;
/// A supervisor gives memory back when it has been idle for a while. What it costs is what it holds after that.
const QUIET: Duration = Duration::from_secs(1);
/// A supervisor that never settles is measured as it is.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    println!("\nmemory: of one supervisor, after an exec");
    println!("  {:<44} {:>9} {:>14}", "", "PSS KiB", "private dirty");
    for engine in engines(bench)? {
        let supervisor = if engine.program_name() == "podman" { "conmon" } else { "loment" };
        let mut started = 0;
        for count in [1, MANY] {
            while started < count {
                let name = format!("m{started}");
                engine.make("run", &["--detach", "--name", &name], &["sleep", "3600"])?;
                engine.quietly(&["exec", &name, "true"])?;
                started += 1;
            }
            let pids = supervisors(supervisor)?;
            let sum = |field: &str| -> u64 { pids.iter().filter_map(|p| rollup(*p, field)).sum() };
            until_settled(|| sum("Pss:"));
            let each = |total: u64| total as f64 / pids.len().max(1) as f64;
            println!(
                "  {:<44} {:>9.0} {:>14.0}",
                format!("{supervisor}, {count} containers ({} processes)", pids.len()),
                each(sum("Pss:")),
                each(sum("Private_Dirty:")),
            );
        }
    }
    Ok(())
}

/// Waits until `figure` has not changed for [`QUIET`], for at most [`PATIENCE`].
fn until_settled(figure: impl Fn() -> u64) {
    let begin = Instant::now();
    let (mut last, mut since) = (figure(), Instant::now());
    while since.elapsed() < QUIET && begin.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100));
        let now = figure();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// Our children of this name: supervisors leave the process that started them, and we are the subreaper.
fn supervisors(name: &str) -> anyhow::Result<BTreeSet<u32>> {
    let entries = fs::read_dir("/proc").context("list processes")?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let parent = format!("PPid:\t{}\n", std::process::id());
    let wanted = format!("Name:\t{name}\n");
    let ours = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|s| s.contains(&parent) && s.contains(&wanted))
    };
    Ok(pids.filter(ours).collect())
}

fn rollup(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().split(' ').next()?.parse().ok()
}
