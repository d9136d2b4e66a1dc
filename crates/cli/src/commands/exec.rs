//! `exec`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use loment_engine::{Answer, Connection, Engine, Exec, Status, Streams};
use loment_runtime::Cause;

use super::choose::{id_in, latest};
use super::preserve;
use super::values::process as values;
use crate::attach::{Session, exit_status};
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;
use crate::{containers_conf, detach};

/// Run a command in a running container
#[derive(Parser, Debug, Default)]
pub(super) struct Flags {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Run as this user, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Set the working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Give every capability
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    privileged: Option<bool>,
    /// Set the keys that leave the terminal and let the command run [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Hand so many descriptors on to the command, from 3 on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
    /// Hand these descriptors on to the command
    #[arg(long, value_name = "DESCRIPTOR")]
    preserve_fd: Vec<String>,
    /// Accepted for compatibility: nothing is written down of it
    #[arg(long)]
    no_session: bool,
    /// Wait so many seconds for the container to run
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
    /// In the container whose id is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "latest")]
    cidfile: Option<PathBuf>,
    /// In the container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Container, unless a flag says which, then the command and its arguments
    // One argument: what follows a container is the command's, also where it looks like one of our flags.
    #[arg(value_names = ["CONTAINER", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Flags {
    /// For a shell in a container that may be about to start.
    pub(super) fn of_shell(words: Vec<String>, tty: bool, wait: u32) -> Self {
        Self { words, interactive: true, tty, wait: Some(wait), ..Self::default() }
    }
}

/// How often it is looked whether a container runs.
const LOOKS: Duration = Duration::from_millis(100);

/// Waits until a container is there and runs.
fn wait_for(engine: &Engine, name: &str, seconds: u32) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        match engine.container(name) {
            Ok(container) if container.status == Status::Running => return Ok(()),
            Ok(_) | Err(loment_engine::Error::NoContainer { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= until {
            // The words are Podman's.
            return Err(Error::Invalid(format!("timed out waiting for container: {name}")));
        }
        std::thread::sleep(LOOKS);
    }
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    // Before anything else is opened, which could have the number of one that was not handed on.
    let descriptors = preserve::descriptors(flags.preserve_fds, &flags.preserve_fd)?;
    if flags.no_session && (flags.detach || flags.detach_keys.is_some()) {
        // The words are Podman's.
        return Err(Error::Invalid("--no-session cannot be used with --detach or --detach-keys".into()));
    }
    let engine = globals.engine()?;
    let (name, args) = match (&flags.cidfile, flags.latest, flags.words.split_first()) {
        (Some(file), ..) => (id_in(file, false)?.unwrap_or_default(), flags.words),
        (None, true, _) => (latest(&engine)?, flags.words),
        (None, false, Some((name, args))) if !args.is_empty() => (name.clone(), args.to_vec()),
        // The words are Podman's.
        _ => {
            let text = "must provide a non-empty command to start an exec session: invalid argument";
            return Err(Error::Invalid(text.into()));
        }
    };
    if let Some(seconds) = flags.wait {
        wait_for(&engine, &name, seconds)?;
    }
    let detach_keys = detach::keys(flags.detach_keys.as_deref(), flags.tty && !flags.detach)?;
    let mut env = Vec::new();
    for file in &flags.env_file {
        env.extend(values::environment_file(file)?);
    }
    for text in &flags.env {
        env.extend(values::environment(text)?);
    }
    let streams = match flags.detach {
        true => Streams::default(),
        false => Streams { stdin: flags.interactive, stdout: true, stderr: true },
    };
    let options = Exec {
        args,
        env,
        user: flags.user,
        workdir: flags.workdir,
        terminal: flags.tty,
        privileged: containers_conf::read()?.switched(flags.privileged, "privileged", false)?,
        streams,
        descriptors: Vec::new(),
    };
    let connection = engine.exec(&name, options, &descriptors)?;
    if flags.detach {
        return detached(globals, &connection);
    }
    exit_status(
        Session {
            connection,
            streams,
            terminal: flags.tty,
            detach_keys: &detach_keys,
            forward_signals: true,
        }
        .run(),
    )
}

/// Waits until a program runs in the background, and says its id, which Docker does not.
fn detached(globals: &Globals, connection: &Connection) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    let mut session = String::new();
    loop {
        match connection.receive().doing(|| "hear from the monitor".into())? {
            Some(Answer::Session { id }) => session = id,
            Some(Answer::Failed { cause, message }) => {
                // For Podman it is the engine that could not run it.
                let cause = if docker { cause } else { Cause::Setup };
                return Err(loment_engine::Error::Start { cause, message }.into());
            }
            _ if docker || session.is_empty() => return Ok(0),
            _ => return print(&format!("{session}\n")).map(|()| 0),
        }
    }
}
