//! How a pull scales, and how far it is from what it cannot be faster than.

use super::super::Bench;
use super::cost::median;
use super::puller::Puller;
use super::source::Source;

/// Rounds at the most: each takes minutes.
const ROUNDS: usize = 3;
/// Processors, as taskset(1) wants them.
const SETS: [&str; 2] = ["0", "0,1"];

pub(super) fn run(bench: &Bench, source: &mut Source) -> anyhow::Result<()> {
    let name = source.image("large")?;
    let slowest = source.floor()?.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let (what, floor) = slowest.unwrap_or(("nothing", f64::NAN));
    println!("\nimages: scale: the slowest stage alone is {what}, {floor:.2} s");
    println!("  {:<24} {:>6} {:>8} {:>8} {:>14}", "", "CPUs", "wall s", "CPU s", "of that stage");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let pullers = Puller::both(bench, &name)?;
    for set in SETS {
        let count = set.split(',').count();
        if count > processors {
            println!("  {count} CPUs: not measured, there are {processors}");
            continue;
        }
        for puller in &pullers {
            let mut costs = Vec::new();
            for _ in 0..bench.runs.min(ROUNDS) {
                source.settle()?;
                costs.push(puller.pull(&["taskset", "--cpu-list", set])?);
                puller.clear()?;
            }
            let (wall, cpu) = (median(&costs, |c| c.wall), median(&costs, |c| c.cpu));
            println!("  {:<24} {count:>6} {wall:>8.2} {cpu:>8.2} {:>14.2}", puller.name, wall / floor);
        }
    }
    Ok(())
}
