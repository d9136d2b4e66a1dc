//! Flags: how a container is looked after.

use clap::Args;
use loment_engine::Create;

use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Supervision")]
pub(super) struct SupervisionFlags {
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Set the signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Set the seconds between that signal and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
}

impl SupervisionFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        asked.config.supervision.auto_remove = self.rm;
        let signal = |text: &String| {
            loment_runtime::parse_signal(text).ok_or_else(|| {
                Error::Invalid(format!("invalid value {text:?} for --stop-signal: no such signal"))
            })
        };
        asked.choices.stop_signal = self.stop_signal.as_ref().map(signal).transpose()?;
        asked.choices.stop_timeout = self.stop_timeout;
        Ok(())
    }
}
