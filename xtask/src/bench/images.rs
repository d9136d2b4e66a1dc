//! P7: pulls of a large layer and of ten layers into an empty store, and their removal, beside skopeo and Podman.
//!
//! What is pulled is made of this machine's own /usr, and served by Debian's docker-registry on the loopback device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use loment_testkit::Registry;
use serde_json::json;

use super::Bench;
use crate::run::{output, shown, succeed, which};

/// Entries of the tree.
const ENTRIES: usize = 72_000;
/// Rounds at the most: each takes minutes.
const ROUNDS: usize = 3;

/// What one command cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
    /// Largest resident set of one process, KiB.
    memory: u64,
}

/// One who pulls, with a directory of its own.
struct Puller {
    name: &'static str,
    dir: PathBuf,
    pull: Vec<String>,
    remove: Option<Vec<String>>,
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    if which("time").is_none() {
        bail!("the Debian package time measures these: install it");
    }
    let registry = Registry::empty();
    let layout = bench.path("layout");
    let paths = paths()?;
    for (tag, layers) in [("large", 1), ("ten", 10)] {
        let image = make(&layout, tag, &paths, layers)?;
        println!("\nimages: {tag}: {image}");
        let name = registry.name(&format!("bench:{tag}"));
        let (from, to) = (format!("oci:{}:{tag}", layout.display()), format!("docker://{name}"));
        let mut push = Command::new("skopeo");
        push.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to]);
        succeed(push.stdout(Stdio::null()))?;
        if layers == 1 {
            stages(&layout)?;
        }
        measure(bench, &name)?;
    }
    Ok(())
}

/// Paths of /usr, parents first.
fn paths() -> anyhow::Result<Vec<String>> {
    let all = output(Command::new("find").args(["/usr", "-xdev"]))?;
    // A newline in a name would be two.
    Ok(all.lines().filter(|line| line.starts_with("/usr")).take(ENTRIES).map(str::to_owned).collect())
}

/// Adds an image of those files in that many layers to a layout; says what it is.
fn make(layout: &Path, tag: &str, paths: &[String], layers: usize) -> anyhow::Result<String> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).context("make a layout")?;
    let (mut descriptors, mut diff_ids, mut size, mut tar) = (Vec::new(), Vec::new(), 0, 0);
    for part in paths.chunks(paths.len().div_ceil(layers)) {
        let (list, blob, sum) = (layout.join("list"), layout.join("blob"), layout.join("sum"));
        fs::write(&list, part.join("\n")).context("write a list of files")?;
        let script = "mkfifo \"$3.pipe\" && { sha256sum <\"$3.pipe\" >\"$3\" & } && \
            tar --create --no-recursion --ignore-failed-read --directory / --files-from \"$1\" 2>/dev/null | \
            tee \"$3.pipe\" \"$2.tar\" | gzip -6n >\"$2\" && wait && rm \"$3.pipe\"";
        let mut sh = Command::new("sh");
        succeed(sh.args(["-c", script, "sh"]).args([&list, &blob, &sum]))?;
        let read = |path: &Path| fs::read_to_string(path).context("read a digest");
        diff_ids.push(format!("sha256:{}", read(&sum)?.split(' ').next().unwrap_or_default()));
        let digest = output(Command::new("sha256sum").arg(&blob))?;
        let hex = digest.split(' ').next().unwrap_or_default().to_owned();
        let bytes = fs::metadata(&blob).context("look at a layer")?.len();
        tar += fs::metadata(layout.join("blob.tar")).context("look at a layer")?.len();
        size += bytes;
        descriptors.push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "size": bytes, "digest": format!("sha256:{hex}")}));
        fs::rename(&blob, blobs.join(hex)).context("keep a layer")?;
    }
    let add = |media_type: &str, value: &serde_json::Value| -> anyhow::Result<serde_json::Value> {
        let bytes = value.to_string();
        let digest = loment_testkit::digest(bytes.as_bytes());
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), &bytes).context("write a document")?;
        Ok(json!({"mediaType": media_type, "size": bytes.len(), "digest": digest}))
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({"os": "linux", "architecture": architecture, "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = add("application/vnd.oci.image.config.v1+json", &config)?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors});
    let mut manifest = add(kind, &manifest)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).context("write an index")?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).context("write a layout")?;
    Ok(format!(
        "{} layers, {} entries, tar {} MB, gzip {} MB",
        layers,
        paths.len(),
        tar / 1_000_000,
        size / 1_000_000
    ))
}

/// What no pull can be faster than, each alone on one processor: the digest of the tar, inflating, and writing it.
fn stages(layout: &Path) -> anyhow::Result<()> {
    let tar = layout.join("blob.tar");
    let blobs = fs::read_dir(layout.join("blobs/sha256")).context("list blobs")?.flatten();
    let blob = blobs.max_by_key(|b| b.metadata().map_or(0, |m| m.len())).context("there is a blob")?.path();
    let sink = layout.join("sink");
    let mut hash = Command::new("openssl");
    hash.args(["dgst", "-sha256"]).arg(&tar);
    let mut inflate = Command::new("gzip");
    inflate.args(["--decompress", "--stdout"]).arg(&blob);
    let mut write = Command::new("dd");
    write.arg(format!("if={}", tar.display())).arg(format!("of={}", sink.display()));
    write.args(["bs=1M", "conv=fdatasync", "status=none"]);
    for (name, command) in
        [("sha256 (openssl)", hash), ("inflate (gzip)", inflate), ("write (dd, flushed)", write)]
    {
        match once(&command) {
            Ok(cost) => println!("  {name:<24} {:>8.2} s", cost.wall),
            Err(e) => println!("  {name:<24} not measured: {e:#}"),
        }
    }
    drop(fs::remove_file(sink));
    drop(fs::remove_file(tar));
    Ok(())
}

fn measure(bench: &Bench, name: &str) -> anyhow::Result<()> {
    let pullers = pullers(bench, name)?;
    let mut pulls = vec![Vec::new(); pullers.len()];
    let mut removals = vec![Vec::new(); pullers.len()];
    for round in 0..bench.runs.min(ROUNDS) {
        for turn in 0..pullers.len() {
            let turn = (turn + round) % pullers.len();
            let puller = &pullers[turn];
            fs::create_dir_all(&puller.dir).context("make a directory")?;
            // What somebody else left to be written is not this one's.
            rustix::fs::sync();
            pulls[turn].push(once(&command(&puller.pull))?);
            if let Some(remove) = &puller.remove {
                removals[turn].push(once(&command(remove))?);
            }
            clear(&puller.dir)?;
        }
    }
    table("pull", &pullers, &pulls);
    table("remove", &pullers, &removals);
    Ok(())
}

fn pullers(bench: &Bench, name: &str) -> anyhow::Result<Vec<Puller>> {
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let dir = |name: &str| bench.path(&format!("{name}-store"));
    let place = |name: &str, below: &str| dir(name).join(below).display().to_string();
    let (root, run) = (place("loment", "root"), place("loment", "run"));
    let loment = bench.named("loment")?.display().to_string();
    let ours = |rest: &[&str]| [words(&[&loment, "--root", &root, "--runroot", &run]), words(rest)].concat();
    let mut all = vec![Puller {
        name: "loment",
        dir: dir("loment"),
        pull: ours(&["pull", "--quiet", name]),
        remove: Some(ours(&["rmi", name])),
    }];
    if which("skopeo").is_some() {
        let store = format!(
            "containers-storage:[overlay@{}+{}]{name}",
            place("skopeo", "root"),
            place("skopeo", "run")
        );
        let from = format!("docker://{name}");
        let pull =
            ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &from, &store];
        all.push(Puller { name: "skopeo", dir: dir("skopeo"), pull: words(&pull), remove: None });
    }
    if which("podman").is_some() {
        let (root, run) = (place("podman", "root"), place("podman", "run"));
        let head = [
            "podman",
            "--root",
            &root,
            "--runroot",
            &run,
            "--storage-driver",
            "overlay",
            "--events-backend",
            "file",
        ];
        let theirs = |rest: &[&str]| [words(&head), words(rest)].concat();
        let pull = theirs(&["pull", "--quiet", "--tls-verify=false", name]);
        all.push(Puller { name: "podman", dir: dir("podman"), pull, remove: Some(theirs(&["rmi", name])) });
    }
    Ok(all)
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Runs it through time(1): wall and CPU seconds, and the memory of the largest process.
fn once(command: &Command) -> anyhow::Result<Cost> {
    let report = tempfile::NamedTempFile::new().context("make a file")?;
    let mut time = Command::new("time");
    time.args(["--format", "%e %U %S %M", "--output"]).arg(report.path());
    time.arg(command.get_program()).args(command.get_args());
    succeed(time.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let text = fs::read_to_string(report.path()).context("read what time says")?;
    cost(&text).with_context(|| format!("time says {text:?} of {}", shown(command)))
}

fn cost(text: &str) -> Option<Cost> {
    let mut words = text.split_whitespace();
    let mut seconds = || words.next()?.parse::<f64>().ok();
    let (wall, user, system) = (seconds()?, seconds()?, seconds()?);
    Some(Cost { wall, cpu: user + system, memory: words.next()?.parse().ok()? })
}

/// Podman leaves its storage mounted below its root.
fn clear(dir: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    for mount in mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|m| Path::new(m).starts_with(dir))
    {
        succeed(Command::new("umount").arg(mount))?;
    }
    // A process that nobody waits for may be deleting there.
    for _ in 0..100 {
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    bail!("{} cannot be removed", dir.display())
}

fn table(title: &str, pullers: &[Puller], costs: &[Vec<Cost>]) {
    println!(
        "  {title:<24} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "wall s", "ratio", "CPU s", "ratio", "memory MiB"
    );
    let first = costs.first().filter(|c| !c.is_empty());
    for (puller, costs) in pullers.iter().zip(costs).filter(|(_, c)| !c.is_empty()) {
        let (wall, cpu) = (median(costs, |c| c.wall), median(costs, |c| c.cpu));
        let ratio = |own: f64, of: fn(&Cost) -> f64| first.map_or(1.0, |first| own / median(first, of));
        let memory = costs.iter().map(|c| c.memory).max().unwrap_or_default() as f64 / 1024.0;
        let (walls, cpus) = (ratio(wall, |c| c.wall), ratio(cpu, |c| c.cpu));
        println!("  {:<24} {wall:>8.2} {walls:>8.2} {cpu:>8.2} {cpus:>8.2} {memory:>10.1}", puller.name);
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
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
