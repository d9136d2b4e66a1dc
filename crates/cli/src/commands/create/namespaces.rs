//! Flags: what a container has of its own, and what it shares.

use clap::Args;
use loment_engine::Create;

use crate::commands::values::users;
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Namespaces")]
pub(super) struct NamespacesFlags {
    /// Make a user namespace in which these users are those of the host; the groups, too, without --gidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    uidmap: Vec<String>,
    /// Make a user namespace in which these groups are those of the host; the users, too, without --uidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    gidmap: Vec<String>,
}

impl NamespacesFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        asked.config.namespaces.users = users::users(&self.uidmap, &self.gidmap)?;
        Ok(())
    }
}
