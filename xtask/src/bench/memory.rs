//! P6: what a running container's supervisor costs.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context;

use super::Bench;
use super::engine::engines;

const MANY: usize = 50;

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    println!("\nmemory: of one supervisor, after an exec");
    println!("  {:<44} {:>9} {:>14}", "", "PSS KiB", "private dirty");
    for engine in engines(bench)? {
        let supervisor = if engine.program_name() == "podman" { "conmon" } else { "loment" };
        let mut started = 0;
        for count in [1, MANY] {
            while started < count {
                let name = format!("m{started}");
                engine.quietly(&[
                    "run",
                    "--detach",
                    "--network",
                    "none",
                    "--name",
                    &name,
                    &engine.image,
                    "sleep",
                    "3600",
                ])?;
                engine.quietly(&["exec", &name, "true"])?;
                started += 1;
            }
            let pids = supervisors(supervisor)?;
            let sum = |field: &str| -> u64 { pids.iter().filter_map(|p| rollup(*p, field)).sum() };
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

/// Processes whose program has this name: there is one per container, and nobody else's while we measure.
fn supervisors(name: &str) -> anyhow::Result<BTreeSet<u32>> {
    let entries = fs::read_dir("/proc").context("list processes")?;
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let named = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|p| p.file_name().is_some_and(|f| f == name))
    };
    Ok(pids.filter(named).collect())
}

fn rollup(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().split(' ').next()?.parse().ok()
}
