//! What a pull needs at the most.

use super::super::Bench;
use super::cost::mib;
use super::puller::Puller;
use super::source::Source;

/// MiB, whatever the image.
const PROMISE: f64 = 64.0;

pub(super) fn run(bench: &Bench, source: &mut Source) -> anyhow::Result<()> {
    for tag in ["large", "twenty", "windows"] {
        let name = source.image(tag)?;
        println!("\nimages: memory: peak of a pull of {tag}");
        for puller in Puller::both(bench, &name)? {
            let cost = puller.pull(&[]);
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
