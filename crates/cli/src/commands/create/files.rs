//! Flags: what a container sees of files.

use clap::Args;
use loment_engine::Create;

use crate::commands::values::{files as values, size};
use crate::error::Error;
use crate::globals::Globals;
use crate::storage_options;

#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
pub(super) struct FilesFlags {
    /// Take IMAGE as a directory to run over; with :O behind it, throw changes away
    #[arg(long)]
    pub(super) rootfs: bool,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Leave /run, /tmp, /var/tmp, /dev and /dev/shm writable in a read-only container [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    read_only_tmpfs: Option<bool>,
    /// Mount a file or directory of the host, read-only with the option ro
    #[arg(short, long, value_name = "SOURCE:DESTINATION[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount a temporary file system
    #[arg(long, value_name = "DESTINATION[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Set the size of /dev/shm, in bytes or with a unit: 64m, 2g
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Limit what the container's changes may occupy: size=SIZE, in bytes or with a unit, or inodes=NUMBER; 0 is no limit
    #[arg(long, value_name = "NAME=VALUE")]
    storage_opt: Vec<String>,
}

impl FilesFlags {
    pub(super) fn apply(&self, globals: &Globals, asked: &mut Create) -> Result<(), Error> {
        let files = &mut asked.config.files;
        files.read_only = self.read_only;
        files.bare_read_only = self.read_only_tmpfs == Some(false);
        for text in &self.volume {
            files.volumes.push(values::volume(text, globals.persona)?);
        }
        for text in &self.tmpfs {
            files.tmpfs.push(values::tmpfs(text)?);
        }
        files.size = storage_options::of_container(&self.storage_opt)?;
        asked.choices.size = storage_options::of_all(globals.size)?;
        let shm = self.shm_size.as_deref().map(|text| size("shm-size", text)).transpose()?;
        asked.choices.shm_size = shm.map(|n| n as u64);
        Ok(())
    }
}
