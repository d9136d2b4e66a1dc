//! 64 loops at the same time over one store: none of their commands fails, and nothing is left. Each test takes ten seconds, or as many
//! as `LOMENT_CHURN_SECONDS` says.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Seek;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use loment_testkit::World;

use crate::{eventually, world_with};

const LOOPS: usize = 64;
const SECONDS: u64 = 10;
/// Longer than a command takes that waits for its turn on few processors.
const PATIENCE: Duration = Duration::from_secs(120);

fn duration() -> Duration {
    let said = std::env::var("LOMENT_CHURN_SECONDS").ok();
    Duration::from_secs(said.and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS))
}

/// Does something again and again, [`LOOPS`] times at once: `once` is told the number of the loop and that of the round. The first
/// failure ends all.
#[track_caller]
#[expect(clippy::print_stdout, reason = "who lets it run for minutes wants to know how much was done")]
fn churn(world: &World, once: impl Fn(usize, usize) -> Result<(), String> + Sync) {
    let end = Instant::now() + duration();
    let loops = |number: usize| {
        let mut rounds = 0;
        while Instant::now() < end {
            once(number, rounds)?;
            rounds += 1;
        }
        Ok::<_, String>(rounds)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..LOOPS).map(|number| scope.spawn(move || loops(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {LOOPS} failed, as the first:\n{}", failed.len(), failed[0]);
    println!("{} rounds", results.iter().flatten().sum::<usize>());
    nothing_is_left(world);
}

/// What a command prints. To a file: pipes are open in whatever else is being started at the same time, until that is executed.
fn done(world: &World, arguments: &[&str]) -> Result<String, String> {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = world.command(arguments);
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.to_string(),
            None if Instant::now() > end => {
                child.kill().and_then(|()| child.wait()).unwrap();
                break "not done".to_owned();
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |file: &mut File| file.rewind().and_then(|()| std::io::read_to_string(file)).unwrap();
    let (said, complaint) = (text(&mut stdout), text(&mut stderr));
    if status == "exit status: 0" && complaint.is_empty() {
        return Ok(said);
    }
    Err(format!("{arguments:?}: {status}\n{said}\n{complaint}"))
}

#[track_caller]
fn nothing_is_left(world: &World) {
    assert_eq!(world.loment(["ps", "-a", "-q"]).succeeds(), "");
    assert_eq!(world.leftovers(), [""; 0]);
    assert_eq!(fs::read_dir(world.root().join("names")).unwrap().count(), 0);
    let ids = ids(&world.root().join("events"));
    assert!(ids.len() >= LOOPS);
    let hierarchies: Vec<_> = fs::read_dir("/sys/fs/cgroup").unwrap().map(|e| e.unwrap().path()).collect();
    for id in ids {
        for group in [format!("loment-{id}"), format!("loment-{id}-monitor")] {
            let is_gone = || !hierarchies.iter().any(|hierarchy| hierarchy.join(&group).exists());
            // Nobody waits for the last steps of a monitor.
            eventually("its groups are gone", || {
                is_gone() && !Path::new("/sys/fs/cgroup").join(&group).exists()
            });
        }
    }
}

/// All ids that something was told of.
fn ids(events: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(events).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let split = |text: String| {
        let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    files.flat_map(split).collect()
}

#[test]
fn sixty_four_loops_of_runs_leave_nothing_and_none_fails() {
    let (world, image) = world_with("busybox:latest");
    churn(&world, |number, round| {
        let word = format!("{number}-{round}");
        let said = done(&world, &["run", "--rm", "--network", "none", &image, "echo", &word])?;
        if said.trim_end() == word { Ok(()) } else { Err(format!("{word}: {said:?}")) }
    });
}

#[test]
fn sixty_four_loops_of_lives_leave_nothing_and_none_fails() {
    let (world, image) = world_with("busybox:latest");
    churn(&world, |number, round| {
        let name = format!("n{number}");
        let create = ["create", "--init", "--network", "none", "--name", &name, &image, "sleep", "1000"];
        done(&world, &create)?;
        done(&world, &["start", &name])?;
        let shown = done(&world, &["inspect", "--format", "{{.State.Status}}", &name])?;
        if shown != "running\n" {
            return Err(format!("{name} is {shown}"));
        }
        done(&world, &["exec", &name, "true"])?;
        done(&world, &["stop", &name])?;
        done(&world, &["start", &name])?;
        if round % 2 == 0 {
            done(&world, &["stop", &name])?;
            done(&world, &["rm", &name])?;
        } else {
            done(&world, &["rm", "--force", "--time", "0", &name])?;
        }
        Ok(())
    });
}
