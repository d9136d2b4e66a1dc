//! Pulls into an empty store, and their removal.

use super::super::Bench;
use super::cost::{Cost, table};
use super::puller::Puller;
use super::source::Source;

/// Rounds at the most: each takes minutes.
const ROUNDS: usize = 3;

pub(super) fn run(bench: &Bench, source: &mut Source, tag: &str) -> anyhow::Result<()> {
    let name = source.image(tag)?;
    let mut pullers = Puller::both(bench, &name)?;
    pullers.extend(Puller::peers(bench, &name));
    let none = || vec![Vec::<Cost>::new(); pullers.len()];
    let (mut pulls, mut removals, mut prunes) = (none(), none(), none());
    for round in 0..bench.runs.min(ROUNDS) {
        for turn in 0..pullers.len() {
            let turn = (turn + round) % pullers.len();
            let puller = &pullers[turn];
            source.settle()?;
            pulls[turn].push(puller.pull(&[])?);
            // What was pulled can go once.
            if round % 2 == 0 {
                removals[turn].extend(puller.remove()?);
            } else {
                prunes[turn].extend(puller.prune()?);
            }
            puller.clear()?;
        }
    }
    println!("\nimages: {tag}: medians of {} rounds", bench.runs.min(ROUNDS));
    for (title, costs) in [("pull", pulls), ("rmi", removals), ("image prune --all", prunes)] {
        table(title, pullers.iter().map(|p| p.name.as_str()).zip(costs.iter().map(Vec::as_slice)));
    }
    println!(
        "  P7: skopeo's and Podman's pulls at least 4 times the wall seconds, and 3 times the CPU seconds"
    );
    Ok(())
}
