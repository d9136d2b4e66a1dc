//! `run`

use clap::Parser;
use loment_engine::Streams;

use super::create::CreateFlags;
use crate::attach::{Session, exit_status, own_streams};
use crate::detach;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Run a command in a new container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Set the keys that leave the terminal and let the container run
    #[arg(long, value_name = "KEYS", default_value = detach::DEFAULT)]
    detach_keys: String,
    /// Hand signals on to the container
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[command(flatten)]
    create: CreateFlags,
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    detach::Detach::parse(&flags.detach_keys)?;
    let engine = globals.engine()?;
    let container = flags.create.create(globals, &engine)?;
    let id = container.config.id.clone();
    let is_passthrough = container.config.log.driver.is_passthrough();
    if flags.detach {
        for warning in engine.start(&id, Some(own_streams()))? {
            complain(&format!("Warning: {warning}"));
        }
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
    let Some(starting) = engine.start_with(&id, Some(streams), Some(own_streams()))? else { return Ok(0) };
    let session = Session {
        connection: starting.connection,
        streams,
        terminal: flags.create.terminal(),
        detach_keys: &flags.detach_keys,
        forward_signals: flags.sig_proxy,
    };
    exit_status(session.run())
}
