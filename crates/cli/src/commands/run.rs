//! `run`

use clap::Parser;
use loment_engine::Streams;

use super::create::CreateFlags;
use super::starter::Starter;
use crate::attach::{Session, exit_status};
use crate::detach;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Run a command in a new container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Set the keys that leave the terminal and let the container run [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Hand signals on to the container
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Hand so many descriptors on to the program, from 3 on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
    /// Hand these descriptors on to the program
    #[arg(long, value_name = "DESCRIPTOR")]
    preserve_fd: Vec<String>,
    #[command(flatten)]
    create: CreateFlags,
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    let detach_keys = detach::keys(flags.detach_keys.as_deref(), flags.create.terminal())?;
    if flags.create.is_explained() {
        return flags.create.explain(globals, &globals.engine()?, None);
    }
    // Before anything else is opened, which could have the number of one that was not handed on.
    let starter = Starter::take(flags.preserve_fds, &flags.preserve_fd)?;
    let engine = globals.engine()?;
    let container = flags.create.create(globals, &engine, None)?;
    let id = container.config.id.clone();
    let is_passthrough = container.config.log.driver.is_passthrough();
    if flags.detach {
        starter.start(&engine, &id)?;
        // Standard output is the container's then.
        if !is_passthrough {
            print(&format!("{id}\n"))?;
        }
        return Ok(0);
    }
    let streams = match is_passthrough {
        true => Streams::default(),
        false => flags.create.streams()?,
    };
    let Some(starting) = engine.start_with(&id, Some(streams), starter.handed())? else { return Ok(0) };
    // Who sees nothing of it may want to know what to look for.
    if !is_passthrough && !streams.stdout && !streams.stderr {
        print(&format!("{id}\n"))?;
    }
    let session = Session {
        connection: starting.connection,
        streams,
        terminal: flags.create.terminal(),
        detach_keys: &detach_keys,
        forward_signals: flags.sig_proxy,
    };
    exit_status(session.run())
}
