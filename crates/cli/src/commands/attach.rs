//! `attach`

use clap::Parser;
use loment_engine::Streams;

use super::choose::one;
use crate::attach::{Session, exit_status};
use crate::detach;
use crate::error::Error;
use crate::globals::Globals;

/// Take part in what a running container reads and writes
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Set the keys that leave the terminal and let the container run [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Send it no standard input
    #[arg(long)]
    no_stdin: bool,
    /// Hand signals on to the container
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let missing = "attach needs a name, an id, or --latest";
    let name = one(&engine, flags.latest, flags.container.as_deref(), missing)?;
    let container = engine.container(&name)?;
    let process = &container.config.process;
    let detach_keys = detach::keys(flags.detach_keys.as_deref(), process.terminal)?;
    let streams = Streams { stdin: process.stdin && !flags.no_stdin, stdout: true, stderr: true };
    let session = Session {
        connection: engine.attach(&container, streams)?,
        streams,
        terminal: process.terminal,
        detach_keys: &detach_keys,
        forward_signals: flags.sig_proxy,
    };
    exit_status(session.run())
}
