//! Flags: where output is kept.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::LogUse;

use crate::commands::values::size;
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
pub(super) struct LogFlags {
    /// Choose where output is kept: k8s-file or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Set an option of the log: max-size=SIZE, max-file=NUMBER
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
}

impl LogFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        if self.log_driver.is_none() && self.log_opt.is_empty() {
            return Ok(());
        }
        let driver = match self.log_driver.as_deref() {
            // Docker's own format is kept in this one, too.
            None | Some("k8s-file" | "json-file") => "k8s-file",
            Some("none") => "none",
            Some(other) => {
                return Err(Error::Invalid(format!(
                    "log driver {other:?} is not supported yet: use k8s-file or none"
                )));
            }
        };
        let mut log = LogUse { driver: driver.into(), max_size: None, max_files: 1 };
        for text in &self.log_opt {
            option(text, &mut log)?;
        }
        asked.choices.log = Some(log);
        Ok(())
    }
}

fn option(text: &str, log: &mut LogUse) -> Result<(), Error> {
    match text.split_once('=') {
        Some(("max-size", text)) => log.max_size = Some(size("log-opt max-size", text)? as u64),
        Some(("max-file", n)) => {
            log.max_files = n.parse().ok().filter(|&n| n > 0 && n <= 1000).ok_or_else(|| {
                Error::Invalid(format!("invalid value {n:?} for --log-opt max-file: use 1 to 1000"))
            })?;
        }
        _ => return Err(Error::Invalid(format!("log option {text:?} is not supported yet"))),
    }
    Ok(())
}
