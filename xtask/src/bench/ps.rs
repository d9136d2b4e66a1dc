//! The part `ps`: lists of many containers, whose records are written and not made one by one.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::engine::engines;
use super::measure::compare;

/// How many containers are listed.
const CONTAINERS: usize = 2000;
/// With `--small`.
const FEW: usize = 200;

pub(super) fn run(bench: &Bench) -> anyhow::Result<()> {
    let engines = engines(bench)?;
    let ours = engines.first().context("ours is the first")?;
    ours.make("create", &["--name", "model"], &["sleep", "3600"])?;
    let count = if bench.small { FEW } else { CONTAINERS };
    write_records(&bench.path("loment-root"), count)?;
    let cases: [(&str, &[&str]); 5] = [
        ("ps --all", &["ps", "--all"]),
        ("ps --all --quiet", &["ps", "--all", "--quiet"]),
        ("ps --all --filter label=group=3", &["ps", "--all", "--filter", "label=group=3"]),
        ("ps --all --format json", &["ps", "--all", "--format", "json"]),
        ("ps, none of them runs", &["ps"]),
    ];
    for (title, arguments) in cases {
        compare(&format!("ps: {title}, {count} containers"), &[ours.subject(arguments)], bench.runs)?;
    }
    // Removed one by one, each would be flushed.
    let dir = bench.path("loment-root/containers");
    (0..count).for_each(|i| drop(fs::remove_dir_all(dir.join(format!("{i:064x}")))));
    Ok(())
}

/// Records as `create` has written one, of as many containers; every other one has ended.
fn write_records(root: &Path, count: usize) -> anyhow::Result<()> {
    let dir = root.join("containers");
    let mut entries = fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))?;
    let model = entries.next().context("there is one container")??.path();
    let text = fs::read_to_string(model.join("container.json")).context("read its record")?;
    let document: Value = serde_json::from_str(&text).context("read its record")?;
    for i in 0..count {
        let (id, name) = (format!("{i:064x}"), format!("n{i}"));
        let mut document = document.clone();
        (document["id"], document["name"]) = (id.as_str().into(), name.as_str().into());
        document["labels"] = serde_json::json!({"group": (i % 10).to_string()});
        fs::create_dir(dir.join(&id)).context("make a container's directory")?;
        fs::write(dir.join(&id).join("container.json"), document.to_string()).context("write a record")?;
        if i % 2 == 1 {
            let state = serde_json::json!({
                "version": 1, "phase": "exited", "boot_id": "", "pid": 0, "start_time": 0, "monitor_pid": 0,
                "monitor_start_time": 0, "started_at": "2026-01-01T00:00:01Z", "finished_at": "2026-01-01T00:00:02Z",
                "exit_code": 0, "oom_killed": false, "error": "",
            });
            fs::write(dir.join(&id).join("state.json"), state.to_string()).context("write a state")?;
        }
        std::os::unix::fs::symlink(&id, root.join("names").join(&name)).context("take a name")?;
    }
    Ok(())
}
