//! `update`

mod health;
mod limits;

pub(super) use self::limits::LimitsFlags;

use clap::Parser;
use loment_engine::Update;

use super::choose::Choice;
use super::for_each;
use super::values::process::environment;
use super::values::supervision as values;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Change limits, policies and checks of containers
///
/// What is not said stays. Limits of the control group, the restart policy and the checks of health change at once, the environment and
/// the limits of --ulimit with the next start.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    limits: limits::LimitsFlags,
    #[command(flatten)]
    health: health::HealthFlags,
    /// Start the container again when it ends: no, on-failure[:TIMES], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Take an environment variable away
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let mut env = Vec::new();
    for text in &flags.env {
        env.extend(environment(text)?);
    }
    let update = Update {
        limits: flags.limits.limits()?,
        restart: flags.restart.as_deref().map(values::restart).transpose()?,
        env,
        unset: flags.unsetenv.clone(),
        health: flags.health.update()?,
    };
    let engine = globals.engine()?;
    let choice = Choice { latest: flags.latest, names: &flags.containers, ..Choice::default() };
    let names = choice.ids(globals, &engine, |_| true)?;
    for_each(&names, |name| {
        let (container, warnings) = engine.update(name, &update)?;
        for warning in warnings {
            complain(&format!("Warning: {warning}"));
        }
        // Docker says what was typed.
        let said = if globals.persona.docker_documents { name } else { container.config.id.as_str() };
        print(&format!("{said}\n"))
    })
}
