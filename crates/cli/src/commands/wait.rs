//! `wait`

use std::time::Duration;

use clap::Parser;
use loment_engine::config::NotifyMode;
use loment_engine::{Engine, HealthStatus, Status};

use super::choose::Choice;
use super::for_each;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// What a container can be waited for to be, in the words of Podman.
const CONDITIONS: &str =
    "configured, created, exited, healthy, paused, removing, running, stopped, stopping, unhealthy";

/// Wait for containers to stop and print their exit codes
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Wait until they are one of these instead: configured, created, exited, healthy, paused, removing, running, stopped,
    /// stopping, unhealthy
    #[arg(long, value_name = "CONDITION", value_delimiter = ',')]
    condition: Vec<String>,
    /// Wait for the first of them only, and print its exit code
    #[arg(long)]
    exit_first_match: bool,
    /// Print -1 for containers that do not exist
    #[arg(long)]
    ignore: bool,
    /// Look so often whether a condition is true, such as 1s; a number alone is milliseconds
    #[arg(short, long, value_name = "TIME", default_value = "250ms")]
    interval: String,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Something a container can be waited for to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Is(Status),
    /// It is not there any more.
    Gone,
    Healthy(bool),
}

/// The exit code that stands for none.
const NO_CODE: i32 = -1;

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let conditions: Vec<Condition> =
        flags.condition.iter().map(|word| condition(word)).collect::<Result<_, _>>()?;
    let interval = interval(&flags.interval)?;
    let engine = globals.engine()?;
    let choice = Choice { latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |_| true)?;
    let ended = conditions.iter().all(|condition| *condition == Condition::Is(Status::Exited));
    if flags.exit_first_match && names.len() > 1 {
        let conditions = if ended { vec![Condition::Is(Status::Exited)] } else { conditions };
        let code = first_match(&engine, &names, &conditions, interval, flags.ignore)?;
        return print(&format!("{code}\n")).map(|()| 0);
    }
    for_each(&names, |name| {
        let code = match ended {
            // Its monitor tells, at once.
            true => engine.wait(name),
            false => until(&engine, name, &conditions, interval),
        };
        let code = match code {
            Err(loment_engine::Error::NoContainer { .. }) if flags.ignore => NO_CODE,
            other => other?,
        };
        print(&format!("{code}\n"))
    })
}

fn condition(word: &str) -> Result<Condition, Error> {
    Ok(match word {
        "configured" | "created" => Condition::Is(Status::Created),
        "exited" | "stopped" => Condition::Is(Status::Exited),
        "initialized" => Condition::Is(Status::Initialized),
        "running" => Condition::Is(Status::Running),
        "paused" => Condition::Is(Status::Paused),
        "stopping" => Condition::Is(Status::Stopping),
        "removing" => Condition::Gone,
        "healthy" => Condition::Healthy(true),
        "unhealthy" => Condition::Healthy(false),
        _ => return Err(Error::Invalid(format!("unknown container state: {word}: use {CONDITIONS}"))),
    })
}

fn interval(text: &str) -> Result<Duration, Error> {
    let time = match text.parse::<u64>() {
        Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
        Err(_) => text.parse::<jiff::SignedDuration>().ok().and_then(|time| time.try_into().ok()),
    };
    // Without any time between looks, one processor would do nothing else.
    let time = time.map(|time: Duration| time.max(Duration::from_millis(1)));
    time.ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --interval: use a time such as 1s or 250ms"))
    })
}

/// Waits until one of the conditions is true of a container, and returns the exit code it has then.
fn until(
    engine: &Engine,
    name: &str,
    conditions: &[Condition],
    interval: Duration,
) -> Result<i32, loment_engine::Error> {
    // Its name may become another one's.
    let id = engine.container(name)?.config.id;
    loop {
        if let Some(code) = look(engine, &id, conditions)? {
            return Ok(code);
        }
        std::thread::sleep(interval);
    }
}

/// How often it is looked whether a container is ready.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until a container is healthy whose service manager is told so, or has ended.
pub(super) fn until_ready(engine: &Engine, name: &str) -> Result<(), loment_engine::Error> {
    let container = match engine.container(name) {
        // It has ended, and was not to stay.
        Err(loment_engine::Error::NoContainer { .. }) => return Ok(()),
        container => container?,
    };
    if container.config.supervision.notify.mode != NotifyMode::Healthy {
        return Ok(());
    }
    loop {
        match engine.container(&container.config.id) {
            Err(loment_engine::Error::NoContainer { .. }) => return Ok(()),
            Err(error) => return Err(error),
            Ok(now) if !now.status.is_active() => return Ok(()),
            Ok(now) if now.health().is_some_and(|report| report.status == HealthStatus::Healthy) => {
                return Ok(());
            }
            Ok(_) => std::thread::sleep(LOOK),
        }
    }
}

/// The exit code of the first of which one of the conditions is true.
fn first_match(
    engine: &Engine,
    names: &[String],
    conditions: &[Condition],
    interval: Duration,
    ignore: bool,
) -> Result<i32, Error> {
    let mut ids = Vec::new();
    for name in names {
        match engine.container(name) {
            Err(loment_engine::Error::NoContainer { .. }) if ignore => return Ok(NO_CODE),
            container => ids.push(container?.config.id),
        }
    }
    loop {
        for id in &ids {
            if let Some(code) = look(engine, id, conditions)? {
                return Ok(code);
            }
        }
        std::thread::sleep(interval);
    }
}

/// The exit code of a container of which one of the conditions is true; -1 while it has none.
fn look(engine: &Engine, id: &str, conditions: &[Condition]) -> Result<Option<i32>, loment_engine::Error> {
    let container = match engine.container(id) {
        Err(loment_engine::Error::NoContainer { .. })
            if conditions.iter().any(|c| matches!(c, Condition::Gone | Condition::Is(Status::Exited))) =>
        {
            return Ok(Some(engine.last_exit_code(id)));
        }
        container => container?,
    };
    let asks_health = conditions.iter().any(|condition| matches!(condition, Condition::Healthy(_)));
    let health = container.health().map(|report| report.status);
    if asks_health && health.is_none() && conditions.len() == 1 {
        return Err(loment_engine::Error::NoHealthCheck { id: id.to_owned() });
    }
    let holds = |condition: &Condition| match condition {
        Condition::Is(status) => container.status == *status,
        Condition::Gone => false,
        Condition::Healthy(true) => health == Some(HealthStatus::Healthy),
        Condition::Healthy(false) => health == Some(HealthStatus::Unhealthy),
    };
    if !conditions.iter().any(holds) {
        return Ok(None);
    }
    Ok(Some(if container.status == Status::Exited { container.state.exit_code } else { NO_CODE }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_conditions_are_read() {
        assert_eq!(interval("250").unwrap(), Duration::from_millis(250));
        assert_eq!(interval("2s").unwrap(), Duration::from_secs(2));
        assert_eq!(interval("0").unwrap(), Duration::from_millis(1));
        assert!(interval("soon").is_err() && interval("-1s").is_err());
        assert_eq!(condition("stopped").unwrap(), Condition::Is(Status::Exited));
        assert_eq!(condition("stopping").unwrap(), Condition::Is(Status::Stopping));
        assert!(condition("asleep").is_err());
    }
}
