//! Flags: what runs, and as whom.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use loment_engine::Create;
use loment_engine::config::{Attach, Personality};

use crate::commands::values::{list, process as values};
use crate::containers_conf::{CONTAINERS, ContainersConf};
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
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    init: Option<bool>,
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

/// A program of the host.
fn program(path: &str) -> Result<PathBuf, Error> {
    match std::fs::metadata(path).is_ok_and(|found| found.is_file()) && path.starts_with('/') {
        true => Ok(path.into()),
        false => Err(Error::Invalid("use the absolute path of a program that is there".into())),
    }
}

impl ProcessFlags {
    /// After those about namespaces.
    pub(super) fn apply(&self, conf: &ContainersConf, asked: &mut Create) -> Result<(), Error> {
        let has_init = match (self.init, asked.config.namespaces.pid.is_own()) {
            (Some(asked), _) => asked,
            // An init is process 1 of a namespace of its own.
            (None, own) => own && conf.switch(CONTAINERS, "init")?.unwrap_or(false),
        };
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
        process.init = has_init;
        process.init_path = match &self.init_path {
            Some(path) => Some(path.clone()),
            None if has_init => conf.text_as(CONTAINERS, "init_path", program)?,
            None => None,
        };
        if self.init_path.is_some() && !has_init {
            complain("Warning: --init-path does nothing without --init");
        }
        process.umask = match self.umask.as_deref() {
            Some(mask) => Some(values::umask(mask)?),
            None => conf.text_as(CONTAINERS, "umask", values::umask)?,
        };
        process.personality = self.personality.map(|personality| match personality {
            Persona::Linux => Personality::Linux,
            Persona::Linux32 => Personality::Linux32,
        });
        process.oom_score_adj = match self.oom_score_adj {
            Some(number) => Some(number),
            None => conf.number_as(CONTAINERS, "oom_score_adj", |number| match i32::try_from(number) {
                Ok(number) if (-1000..=1000).contains(&number) => Ok(number),
                _ => Err("use a number from -1000 to 1000"),
            })?,
        };
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
