//! `volume create`

use clap::Parser;
use loment_engine::NewVolume;

use crate::commands::pull::short_names;
use crate::commands::values::pairs;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::print;

/// Make a volume and print its name
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Choose the driver: local, or image for a copy of the files of an image (--opt image=IMAGE)
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// Succeed when there is a volume of that name
    #[arg(long)]
    ignore: bool,
    /// Set the user whose it is, by number
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Set the group whose it is, by number
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,
    /// Its name, the same as after the flags
    #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "name")]
    named: Option<String>,
    /// Its name; 64 hexadecimal digits if none is given
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let name = flags.name.as_ref().or(flags.named.as_ref());
    let engine = globals.engine()?;
    let options = pairs("opt", &flags.opt)?;
    let image = options.get("image").filter(|_| flags.driver == "image");
    let asked = NewVolume {
        name: name.cloned(),
        driver: flags.driver.clone(),
        image: match image {
            Some(image) => Some(engine.find_image(image, &short_names(globals)?)?.0),
            None => None,
        },
        labels: pairs("label", &flags.label)?,
        options,
        uid: flags.uid,
        gid: flags.gid,
        anonymous: false,
    };
    // Docker has only this way.
    let ignore = flags.ignore || globals.persona.docker_documents;
    let name = match engine.create_volume(asked) {
        Err(loment_engine::Error::VolumeExists { name }) if ignore => name,
        created => created?.name,
    };
    print(&format!("{name}\n")).map(|()| 0)
}
