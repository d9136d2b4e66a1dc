//! Flags: the environment of a container's programs.

use std::path::PathBuf;

use clap::Args;
use loment_engine::Create;

use crate::commands::values::process as values;
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::ecosystem::variable;
use crate::error::Error;
use crate::globals::Globals;

/// What programs that go through a proxy read, in small and in capital letters.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

#[derive(Args, Debug)]
#[command(next_help_heading = "Environment")]
pub(super) struct EnvironmentFlags {
    /// Set an environment variable; NAME alone takes it from here, and PREFIX* all that begin so
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Set all variables of this environment that the image does not set
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    env_host: Option<bool>,
    /// Set a variable from others that the container has: $NAME, ${NAME}, ${NAME:-WORD}, ${NAME:+WORD}
    #[arg(long, value_name = "NAME=VALUE")]
    env_merge: Vec<String>,
    /// Leave out a variable of the image or one that is set by default
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// Leave out all of these
    #[arg(long)]
    unsetenv_all: bool,
    /// Set http_proxy, https_proxy, ftp_proxy and no_proxy as they are here [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    http_proxy: Option<bool>,
    /// Set the time zone: a name such as Europe/Berlin, or local for the host's
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
}

impl EnvironmentFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let env = &mut asked.config.process.env;
        for file in &self.env_file {
            env.extend(values::environment_file(file)?);
        }
        for text in &self.env {
            env.extend(values::environment(text)?);
        }
        let choices = &mut asked.choices.environment;
        if conf.switched(self.http_proxy, "http_proxy", globals.persona.completes_containers)? {
            let names = PROXIES.into_iter().flat_map(|name| [name.to_owned(), name.to_ascii_uppercase()]);
            let here = |name: String| {
                let value = variable(&name)?.into_string().ok()?;
                Some(format!("{name}={value}"))
            };
            choices.host.extend(names.filter_map(here));
        }
        if conf.switched(self.env_host, "env_host", false)? {
            choices.host.extend(values::own_environment(""));
        }
        choices.host.extend(conf.list_as(CONTAINERS, "env", values::environment)?.into_iter().flatten());
        for text in &self.env_merge {
            choices.merge.extend(values::environment(text)?);
        }
        choices.unset.clone_from(&self.unsetenv);
        choices.unset_all = self.unsetenv_all;
        asked.config.files.time_zone = match &self.tz {
            Some(zone) => Some(zone.clone()),
            None => conf.text_as(CONTAINERS, "tz", |zone| {
                loment_engine::check_time_zone(zone)?;
                Ok(zone.to_owned())
            })?,
        };
        Ok(())
    }
}
