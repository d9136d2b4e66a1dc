//! Flags: what runs, and as whom.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use loment_engine::Create;
use loment_engine::config::{Attach, Personality};

use crate::commands::values::{list, process as values};
use crate::error::Error;
use crate::output::complain;

/// The group that is none: `--group-add keep-groups`.
const KEEP: &str = "keep-groups";

#[derive(Args, Debug)]
#[command(next_help_heading = "Process")]
pub(super) struct ProcessFlags {
    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Take part in these streams only: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM")]
    attach: Vec<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set the working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user, and group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Add a group to those of the user; keep-groups keeps the caller's instead
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Run an init as process 1 that hands signals on and reaps children
    #[arg(long)]
    init: bool,
    /// Take this program of the host for the init
    #[arg(long, value_name = "FILE")]
    init_path: Option<PathBuf>,
    /// Set the mask of the modes of new files, in octal [default: 0022]
    #[arg(long, value_name = "MASK")]
    umask: Option<String>,
    /// Set the kind of machine that programs see: LINUX or LINUX32
    #[arg(long, value_name = "PERSONALITY", value_enum, hide_possible_values = true)]
    personality: Option<Persona>,
    /// Set how readily the container is killed when memory is short, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(-1000..=1000), allow_negative_numbers = true)]
    oom_score_adj: Option<i32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Persona {
    Linux,
    Linux32,
}

impl ProcessFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        let process = &mut asked.config.process;
        process.groups = list(&self.group_add);
        process.keep_groups = process.groups.iter().any(|group| group == KEEP);
        if process.keep_groups && process.groups.len() > 1 {
            return Err(Error::Invalid(
                "the '--group-add keep-groups' option is not allowed with any other --group-add options"
                    .into(),
            ));
        }
        process.groups.retain(|group| group != KEEP);
        process.terminal = self.tty;
        process.stdin = self.interactive;
        process.attach = self.attached()?;
        process.init = self.init;
        process.init_path.clone_from(&self.init_path);
        if self.init_path.is_some() && !self.init {
            complain("Warning: --init-path does nothing without --init");
        }
        process.umask = self.umask.as_deref().map(values::umask).transpose()?;
        process.personality = self.personality.map(|personality| match personality {
            Persona::Linux => Personality::Linux,
            Persona::Linux32 => Personality::Linux32,
        });
        process.oom_score_adj = self.oom_score_adj;
        asked.choices.entrypoint = self.entrypoint.as_deref().map(values::entrypoint);
        asked.choices.workdir.clone_from(&self.workdir);
        asked.choices.user.clone_from(&self.user);
        Ok(())
    }

    /// The streams that are asked for by name, if any are; standard input by its own flag, too.
    pub(super) fn attached(&self) -> Result<Option<Attach>, Error> {
        let streams = values::attach(&list(&self.attach))?;
        Ok(streams.map(|streams| Attach { stdin: streams.stdin || self.interactive, ..streams }))
    }
}
