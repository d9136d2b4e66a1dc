//! Flags: what runs, and as whom.

use std::path::PathBuf;

use clap::Args;
use loment_engine::Create;

use crate::commands::values::process as values;
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Process")]
pub(super) struct ProcessFlags {
    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Set the working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Add a group to those of the user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Run an init as process 1 that hands signals on and reaps children
    #[arg(long)]
    init: bool,
}

impl ProcessFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        let process = &mut asked.config.process;
        for file in &self.env_file {
            process.env.extend(values::environment_file(file)?);
        }
        for text in &self.env {
            process.env.extend(values::environment(text)?);
        }
        process.groups.clone_from(&self.group_add);
        process.terminal = self.tty;
        process.stdin = self.interactive;
        process.init = self.init;
        asked.choices.entrypoint = self.entrypoint.as_deref().map(values::entrypoint);
        asked.choices.workdir.clone_from(&self.workdir);
        asked.choices.user.clone_from(&self.user);
        Ok(())
    }
}
