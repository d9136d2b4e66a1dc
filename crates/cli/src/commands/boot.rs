//! `system boot`

use clap::Parser;
use loment_engine::Handed;

use super::choose::filtered;
use super::for_each;
use crate::attach::own_streams;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};

/// Start the containers that are to run whenever the machine does
///
/// These are the ones with --restart always, and those with unless-stopped that nobody has stopped; what they need is started
/// before them. One that cannot be started does not keep others from it. To be run at boot: see contrib/.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Only say which these are
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let mut ids =
        filtered(globals, &engine, &["should-start-on-boot=true".to_owned()], |c| !c.status.is_active())?;
    // The oldest first: a container was made after what it needs.
    ids.reverse();
    if flags.dry_run {
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()).map(|()| 0);
    }
    let handed = Handed { stdio: Some(own_streams()), ..Handed::default() };
    for_each(&ids, |id| {
        // What an earlier one needs may run by now.
        for warning in engine.start(id, handed)? {
            complain(&format!("Warning: {warning}"));
        }
        print(&format!("{id}\n"))
    })
}
