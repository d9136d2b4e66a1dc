//! Flags: the users that a container knows.

use clap::Args;
use loment_engine::Create;

use crate::commands::values::list;
use crate::globals::Globals;

#[derive(Args, Debug)]
#[command(next_help_heading = "Users")]
pub(super) struct AccountsFlags {
    /// Add lines to /etc/passwd and /etc/group for users that the image does not know [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    passwd: Option<bool>,
    /// Set the line of /etc/passwd, with $USERNAME, $UID, $GID, $NAME and $HOME
    #[arg(long, value_name = "LINE")]
    passwd_entry: Option<String>,
    /// Set the line of /etc/group, with $GROUPNAME, $GID and $USERLIST
    #[arg(long, value_name = "LINE")]
    group_entry: Option<String>,
    /// Add a user of the host to /etc/passwd
    #[arg(long, value_name = "USER")]
    hostuser: Vec<String>,
}

impl AccountsFlags {
    pub(super) fn apply(&self, globals: &Globals, asked: &mut Create) {
        let accounts = &mut asked.config.process.accounts;
        accounts.host_users = list(&self.hostuser);
        accounts.passwd_entry.clone_from(&self.passwd_entry);
        accounts.group_entry.clone_from(&self.group_entry);
        let is_asked = *accounts != loment_engine::config::Accounts::default();
        accounts.add = self.passwd.unwrap_or(globals.persona.completes_containers || is_asked);
    }
}
