//! What a pull needs at the most.

use std::fs;

use anyhow::Context;

use super::super::Bench;
use super::cost::mib;
use super::puller::Puller;
use super::source::Source;

/// MiB, but for windows that are larger than 32 MiB.
const PROMISE: f64 = 64.0;

/// Images, and how many layers come at a time.
const CASES: [(&str, usize); 6] =
    [("large", 4), ("twenty", 4), ("twenty", 20), ("wide", 4), ("wide", 20), ("widest", 4)];

pub(super) fn run(bench: &Bench, source: &mut Source) -> anyhow::Result<()> {
    let conf = bench.path("parallel.conf");
    let variable = format!("CONTAINERS_CONF={}", conf.display());
    for (tag, parallel) in CASES {
        let name = source.image(tag)?;
        let text = format!("[engine]\nimage_parallel_copies = {parallel}\n");
        fs::write(&conf, text).context("write a configuration")?;
        println!("\nimages: memory: peak of a pull of {tag}, {parallel} layers at a time");
        for puller in Puller::both(bench, &name)? {
            let cost = puller.pull(&["env", &variable]);
            puller.clear()?;
            match cost {
                Ok(cost) => {
                    let peak = mib(cost.memory);
                    let held = if peak <= PROMISE { "within" } else { "MORE THAN" };
                    println!("  {:<24} {peak:>8.1} MiB, {held} {PROMISE} MiB", puller.name);
                }
                Err(e) => println!("  {:<24} not measured: {e:#}", puller.name),
            }
        }
    }
    Ok(())
}
