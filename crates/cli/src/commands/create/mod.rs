//! `create`

mod accounts;
mod devices;
mod environment;
mod explain;
mod files;
mod flags;
mod groups;
mod health;
mod identity;
mod limits;
mod log;
mod namespaces;
mod net;
mod pod;
mod pod_clone;
mod process;
mod refused;
mod security;
mod supervision;

use clap::Parser;
use loment_engine::config::InitContainer;

pub(super) use self::flags::CreateFlags;
pub(super) use self::pod::PodFlags;
pub(super) use self::pod_clone::PodCloneFlags;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Create but do not start a container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    #[command(flatten)]
    create: CreateFlags,
    /// Run it when its pod is started, before the others, and wait for its end: once, and then it is removed, or always
    #[arg(long, value_name = "WHEN")]
    init_ctr: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let init = init(flags.init_ctr.as_deref())?;
    if flags.create.is_explained() {
        return flags.create.explain(globals, &engine, init);
    }
    let container = flags.create.create(globals, &engine, init)?;
    print(&format!("{}\n", container.config.id))?;
    Ok(0)
}

fn init(text: Option<&str>) -> Result<Option<InitContainer>, Error> {
    match text {
        None => Ok(None),
        Some("once") => Ok(Some(InitContainer::Once)),
        Some("always") => Ok(Some(InitContainer::Always)),
        Some(other) => {
            Err(Error::Invalid(format!("invalid value {other:?} for --init-ctr: use once or always")))
        }
    }
}
