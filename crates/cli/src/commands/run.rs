//! `run`

use clap::Parser;
use loment_engine::{Container, Engine, RemoveImage, Streams};

use super::create::CreateFlags;
use super::pull::short_names;
use super::starter::Starter;
use crate::attach::{Session, exit_status};
use crate::detach;
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::{log_line, rootless};

/// Run a command in a new container
#[derive(Parser, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Flags {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Set the keys that leave the terminal and let the container run [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Hand signals on to the container
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Hand so many descriptors on to the program, from 3 on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    preserve_fds: u32,
    /// Hand these descriptors on to the program
    #[arg(long, value_name = "DESCRIPTOR")]
    preserve_fd: Vec<String>,
    /// Remove the container and its image when it has ended, unless others have that image
    #[arg(long)]
    rmi: bool,
    #[command(flatten)]
    create: CreateFlags,
}

pub(super) fn run(globals: &Globals, mut flags: Flags) -> Result<u8, Error> {
    if flags.rmi {
        // Who waits for its end says why an image stays.
        flags.create.remove_at_end(flags.detach);
    }
    let detach_keys = detach::keys(flags.detach_keys.as_deref(), flags.create.terminal())?;
    if flags.create.is_explained() {
        return flags.create.explain(globals, &globals.engine()?, None);
    }
    // Before anything else is opened, which could have the number of one that was not handed on.
    let starter = Starter::take(flags.preserve_fds, &flags.preserve_fd)?;
    if flags.create.lacks_terminal() && !globals.persona.docker_documents {
        // In Podman's words.
        let text = "The input device is not a TTY. The --tty and --interactive flags might not work properly";
        log_line("warning", text);
    }
    let engine = globals.engine()?;
    let container = flags.create.create(globals, &engine, None)?;
    let id = container.config.id.clone();
    let is_passthrough = container.config.log.driver.is_passthrough();
    // Before there is a monitor nobody else removes it; one that runs stays.
    let not_started = |error: Error| {
        if container.config.supervision.auto_remove {
            let _ = engine.remove_with_volumes(&id, false, None, true);
        }
        error
    };
    if flags.detach {
        starter.start(&engine, &id).map_err(not_started)?;
        rootless::linger::note(globals.root());
        // Standard output is the container's then.
        if !is_passthrough {
            print(&format!("{id}\n"))?;
        }
        return Ok(0);
    }
    let streams = match is_passthrough {
        true => Streams::default(),
        false => flags.create.streams()?,
    };
    let starting = engine.start_with(&id, Some(streams), starter.handed());
    let Some(starting) = starting.map_err(|error| not_started(error.into()))? else { return Ok(0) };
    // Who sees nothing of it may want to know what to look for.
    if !is_passthrough && !streams.stdout && !streams.stderr {
        print(&format!("{id}\n"))?;
    }
    let session = Session {
        connection: starting.connection,
        streams,
        terminal: flags.create.terminal(),
        detach_keys: &detach_keys,
        forward_signals: flags.sig_proxy,
    };
    let ended = session.run();
    if flags.rmi {
        remove_image(globals, &engine, &container)?;
    }
    exit_status(ended)
}

/// Removes the image that a container was made from, unless others have it.
fn remove_image(globals: &Globals, engine: &Engine, container: &Container) -> Result<(), Error> {
    let Some(image) = &container.config.image else { return Ok(()) };
    // Somebody who has detached from it sees it run on.
    match engine.remove_image(&image.name, &short_names(globals)?, RemoveImage::default()) {
        Ok(_) => Ok(engine.sweep()?),
        Err(loment_engine::Error::NoImage { .. }) => Ok(()),
        Err(error @ loment_engine::Error::ImageInUse { .. }) => {
            log_line("warning", &one_line(&error));
            Ok(())
        }
        // The status is the program's.
        Err(error) => {
            complain(&format!("Error: {}", one_line(&error)));
            Ok(())
        }
    }
}
