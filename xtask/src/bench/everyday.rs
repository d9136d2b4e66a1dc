//! The part `engine`: what is done with containers all day, and how much of it at a time; P9.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::engine::{Engine, engines};
use super::measure::{Subject, compare, compare_throughput, once};
use super::{Bench, docker::Daemon, ps};

/// How much of each is done.
struct Amounts {
    containers: usize,
    /// MiB through the standard output of `run`.
    output: usize,
    /// MiB of them that are also logged.
    logged: usize,
    /// MiB of a log, in lines of 100 bytes.
    log: usize,
    files: usize,
}

const ALL: Amounts = Amounts { containers: 100, output: 1024, logged: 128, log: 1024, files: 20_000 };
/// With `--small`.
const FEW: Amounts = Amounts { containers: 8, output: 16, logged: 16, log: 16, files: 500 };
/// Of P9.
const AT_ONCE: u32 = 64;

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let amounts = if bench.small { FEW } else { ALL };
    let daemon = Daemon::start(bench)?;
    let mut engines = engines(bench)?;
    if let Some(daemon) = &daemon {
        engines.push(Engine::docker(daemon)?);
    }
    starts(bench, &engines, &amounts)?;
    many_at_once(&engines[0])?;
    first_byte(bench, &engines)?;
    output(bench, &engines, &amounts)?;
    logs(bench, &engines, &amounts)?;
    copies(bench, &engines, &amounts)?;
    drop(engines);
    drop(daemon);
    ps::run(bench)
}

fn starts(bench: &Bench, engines: &[Engine], amounts: &Amounts) -> anyhow::Result<()> {
    let one: Vec<_> = engines.iter().map(Engine::runs).collect();
    compare("engine: run --rm --network none busybox true", &one, bench.runs)?;
    let count = amounts.containers;
    let title = |how: &str| format!("engine: {count} of them {how}");
    let sequence =
        |engine: &Engine| engine.shell(&format!("for i in $(seq {count}); do RUN || exit 1; done"));
    compare(&title("one after the other"), &all(engines, sequence), bench.runs)?;
    let parallel = |engine: &Engine| engine.shell(&format!("seq {count} | xargs -P {count} -I {{}} RUN"));
    compare(&title("at the same time"), &all(engines, parallel), bench.runs)
}

fn all(engines: &[Engine], subject: impl Fn(&Engine) -> Subject) -> Vec<Subject> {
    engines.iter().map(subject).collect()
}

/// P9: how much longer than the processors need for it.
fn many_at_once(ours: &Engine) -> anyhow::Result<()> {
    let mut alone = Vec::new();
    for _ in 0..=10 {
        alone.push(once(ours.runs().commands_of(0))?.cpu);
    }
    // The first warms caches.
    let mut alone = alone.split_off(1);
    alone.sort_unstable();
    let together = ours.shell(&format!("seq {AT_ONCE} | xargs -P {AT_ONCE} -I {{}} RUN"));
    let mut walls = Vec::new();
    for _ in 0..5 {
        walls.push(once(together.commands_of(0))?.wall);
    }
    walls.sort_unstable();
    let processors = std::thread::available_parallelism().context("count processors")?.get() as f64;
    let (wall, cpu) = (walls[walls.len() / 2], alone[alone.len() / 2]);
    let least = f64::from(AT_ONCE) * cpu.as_secs_f64() / processors;
    println!(
        "\nengine: {AT_ONCE} runs at once: {:.0} ms; {AT_ONCE} times the {:.1} CPU ms of one on {processors} processors are {:.0} ms; \
         ratio {:.2}",
        wall.as_secs_f64() * 1000.0,
        cpu.as_secs_f64() * 1000.0,
        least * 1000.0,
        wall.as_secs_f64() / least
    );
    Ok(())
}

/// From the start of `run` to the first byte that its program writes.
fn first_byte(bench: &Bench, engines: &[Engine]) -> anyhow::Result<()> {
    let mut times = vec![Vec::new(); engines.len()];
    for run in 0..=bench.runs {
        for (engine, times) in engines.iter().zip(&mut times) {
            let time = time_of_first_byte(engine)?;
            if run > 0 {
                times.push(time);
            }
        }
    }
    println!("\nengine: from run to the first byte of output: medians of {} interleaved runs", bench.runs);
    let mut first = None;
    for (engine, mut times) in engines.iter().zip(times) {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64();
        let ratio = median / *first.get_or_insert(median);
        println!("  {:<44} {:>9.2} ms {ratio:>8.2}", engine.program_name(), median * 1000.0);
    }
    Ok(())
}

fn time_of_first_byte(engine: &Engine) -> anyhow::Result<Duration> {
    let words = engine.run_of(&["--rm"], &["echo", "x"]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {}", words[0]))?;
    let mut byte = [0];
    let read = child.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(&mut byte)).context("read")?;
    let time = start.elapsed();
    let status = child.wait().context("wait for a run")?;
    ensure!(read == 1 && status.success(), "{words:?}: {status}");
    Ok(time)
}

/// A script that writes so many MiB of lines as programs write them.
fn lines(mib: usize) -> String {
    let line =
        "a line of a log as programs write them, with a time and a level and some words about what it does";
    format!("yes {line:?} | head -c {}", mib << 20)
}

fn output(bench: &Bench, engines: &[Engine], amounts: &Amounts) -> anyhow::Result<()> {
    let zeros = format!("head -c {} /dev/zero", amounts.output << 20);
    // Docker has no k8s-file, and Podman's json-file is its k8s-file.
    for (driver, name, mib, script) in [
        ("none", "without a log", amounts.output, zeros),
        ("json-file", "with a log", amounts.logged, lines(amounts.logged)),
    ] {
        let subject = |engine: &Engine| {
            let script = format!("'{script}'");
            let words = engine.run_of(&["--rm", "--log-driver", driver], &["sh", "-c", &script]);
            engine.shell_of(&format!("({} || kill -9 $$) | cat > /dev/null", words.join(" ")))
        };
        let title = format!("engine: through the standard output of run, {name}");
        compare_throughput(&title, &all(engines, subject), bench.runs.min(5), mib)?;
    }
    Ok(())
}

fn logs(bench: &Bench, engines: &[Engine], amounts: &Amounts) -> anyhow::Result<()> {
    let mib = amounts.log;
    for engine in engines {
        engine.make("run", &["--name", "logged", "--log-driver", "json-file"], &["sh", "-c", &lines(mib)])?;
    }
    let title = "engine: logs";
    let whole = |engine: &Engine| engine.subject(&["logs", "logged"]);
    compare_throughput(title, &all(engines, whole), bench.runs.min(5), mib)?;
    let tail = |engine: &Engine| engine.subject(&["logs", "--tail", "10", "logged"]);
    compare(&format!("{title}, the last ten lines of {mib} MiB"), &all(engines, tail), bench.runs.min(5))?;
    engines.iter().try_for_each(|engine| engine.quietly(&["rm", "logged"]))
}

fn copies(bench: &Bench, engines: &[Engine], amounts: &Amounts) -> anyhow::Result<()> {
    let tree = bench.path("tree");
    for i in 0..amounts.files {
        let dir = tree.join(format!("d{}", i / 100));
        if i % 100 == 0 {
            fs::create_dir_all(&dir).context("make a tree")?;
        }
        fs::write(dir.join(format!("f{i}")), vec![b'x'; 1 + i * 37 % 20_000]).context("make a tree")?;
    }
    for engine in engines {
        engine.make("create", &["--name", "copied"], &["true"])?;
    }
    let tree = tree.display().to_string();
    let files = amounts.files;
    let into = |engine: &Engine| engine.subject(&["cp", &tree, "copied:/tree"]);
    compare(
        &format!("engine: cp of {files} files into a container"),
        &all(engines, into),
        bench.runs.min(5),
    )?;
    let out = |engine: &Engine| engine.shell("ENGINE cp copied:/tree - > /dev/null");
    compare(
        &format!("engine: cp of {files} files out of it, as an archive"),
        &all(engines, out),
        bench.runs.min(5),
    )
}
