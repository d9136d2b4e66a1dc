//! What the host and the guest say to each other: one JSON document per line, over a virtio serial port.
//!
//! The guest says that it is up and what runs there, the host answers with the tasks, the guest says how each ended, and
//! that all have.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// The name of the port, which the guest finds below /dev/virtio-ports.
pub const PORT: &str = "org.loment.tasks";

/// A command that the guest runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What results are reported by.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it runs in a login session of the guest's ordinary user.
    pub as_user: bool,
    /// How long it may take.
    pub seconds: u64,
    /// Whether it reboots the machine, and is run again then.
    pub reboots: bool,
}

/// Everything is many times slower than on a real machine.
const SECONDS: u64 = 270;

impl Task {
    /// A command of root's.
    pub fn of_root(name: &str, command: Vec<String>) -> Self {
        Self { name: name.to_owned(), command, as_user: false, seconds: SECONDS, reboots: false }
    }

    /// A command of the ordinary user's.
    pub fn of_user(name: &str, command: Vec<String>) -> Self {
        Self { as_user: true, ..Self::of_root(name, command) }
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The task's.
    pub name: String,
    /// Exit status; 124 and 137 when it took too long, 128 + n for a signal.
    pub status: i32,
    /// How long it took.
    pub seconds: f64,
    /// Both its outputs.
    pub output: String,
}

/// What the guest says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is up; the text names its kernel and its control groups.
    Up(String),
    /// A task ended.
    Ended(Outcome),
    /// All tasks have, and the machine is about to power off.
    Done,
}

impl Event {
    /// One line, without its end.
    pub fn line(&self) -> String {
        match self {
            Self::Up(what) => json!({ "event": "up", "what": what }),
            Self::Ended(o) => json!({
                "event": "ended", "name": o.name, "status": o.status, "seconds": o.seconds, "output": o.output,
            }),
            Self::Done => json!({ "event": "done" }),
        }
        .to_string()
    }

    /// Reads such a line.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("parse {line:?}"))?;
        match value["event"].as_str() {
            Some("up") => Ok(Self::Up(text(&value, "what")?)),
            Some("ended") => Ok(Self::Ended(Outcome {
                name: text(&value, "name")?,
                status: value["status"].as_i64().and_then(|s| s.try_into().ok()).context("no status")?,
                seconds: value["seconds"].as_f64().context("no seconds")?,
                output: text(&value, "output")?,
            })),
            Some("done") => Ok(Self::Done),
            _ => bail!("not an event: {line:?}"),
        }
    }
}

/// All tasks as one line, without its end.
pub fn tasks_line(tasks: &[Task]) -> String {
    let tasks = tasks
        .iter()
        .map(|t| json!({ "name": t.name, "command": t.command, "as_user": t.as_user, "seconds": t.seconds, "reboots": t.reboots }));
    Value::Array(tasks.collect()).to_string()
}

/// Reads such a line.
pub fn parse_tasks(line: &str) -> anyhow::Result<Vec<Task>> {
    let value: Value = serde_json::from_str(line).context("parse the tasks")?;
    value.as_array().context("the tasks are no list")?.iter().map(parse_task).collect()
}

fn parse_task(task: &Value) -> anyhow::Result<Task> {
    let words = task["command"].as_array().context("a task has no command")?.iter();
    Ok(Task {
        name: text(task, "name")?,
        command: words.filter_map(|w| w.as_str().map(str::to_owned)).collect(),
        as_user: task["as_user"].as_bool().context("a task has no user")?,
        seconds: task["seconds"].as_u64().context("a task has no time")?,
        reboots: task["reboots"].as_bool().unwrap_or_default(),
    })
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let outcome = Outcome { name: "a::b".into(), status: 101, seconds: 1.5, output: "x\n\"y\"".into() };
        for event in [Event::Up("Linux".into()), Event::Ended(outcome), Event::Done] {
            let line = event.line();
            assert!(!line.contains('\n'));
            assert_eq!(Event::parse(&line).unwrap(), event);
        }
        let tasks =
            [Task::of_root("a", vec!["b".into(), "c d".into()]), Task::of_user("e", vec!["f".into()])];
        assert_eq!(parse_tasks(&tasks_line(&tasks)).unwrap(), tasks);
    }

    #[test]
    fn what_is_no_event_is_named() {
        for bad in ["", "{", "[]", "{\"event\":\"else\"}", "{\"event\":\"ended\",\"name\":\"x\"}"] {
            assert!(Event::parse(bad).is_err(), "{bad}");
        }
    }
}
