//! `secret create`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use clap::Parser;
use loment_engine::{NewSecret, SecretData, WhenThere};

use crate::commands::values::{list, pairs};
use crate::containers_conf;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;
use crate::secret_programs::Programs;

/// The table about secrets.
const SECRETS: &str = "secrets";
/// One byte more than a secret may have.
const TOO_MANY: u64 = 512_000;

/// Make a secret of what is in a file or on standard input, and print its id
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Choose who keeps it: file, pass or shell [default: file]
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Set options of the driver: path=DIR of file; root=DIR and key=ID of pass; store, lookup and delete=COMMAND of shell
    #[arg(long, value_name = "NAME=VALUE,...")]
    driver_opts: Vec<String>,
    /// Take the value of the environment variable FILE
    #[arg(long)]
    env: bool,
    /// Keep a secret of that name as it is, and print its id
    #[arg(long, conflicts_with = "replace")]
    ignore: bool,
    /// Set a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Replace a secret of that name; containers that have it keep what they have
    #[arg(long)]
    replace: bool,
    /// Refused: templates are for services of a swarm
    #[arg(long, value_name = "DRIVER", hide = true)]
    template_driver: Option<String>,
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// A file, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if let Some(driver) = &flags.template_driver {
        return Err(Error::Invalid(format!(
            "--template-driver {driver}: templates are for services of a swarm"
        )));
    }
    let conf = containers_conf::read()?;
    let usual = conf.text(SECRETS, "driver")?.map_or("file", |said| said.value);
    let driver = flags.driver.as_deref().unwrap_or(usual);
    let mut options = BTreeMap::new();
    // They are those of that driver.
    if driver == usual {
        options.extend(conf.texts_of(SECRETS, "opts")?);
    }
    options.extend(pairs("driver-opts", &list(&flags.driver_opts))?);
    let data = SecretData(if flags.env { variable(&flags.file)? } else { read(&flags.file)? });
    let when_there = match (flags.ignore, flags.replace) {
        (true, _) => WhenThere::Keep,
        (_, true) => WhenThere::Replace,
        _ => WhenThere::Refuse,
    };
    let asked = NewSecret {
        name: flags.name.clone(),
        driver: driver.to_owned(),
        options,
        labels: pairs("label", &flags.label)?,
        when_there,
    };
    let secret = globals.engine()?.create_secret(asked, &data, &Programs)?;
    print(&format!("{}\n", secret.id)).map(|()| 0)
}

fn variable(name: &str) -> Result<Vec<u8>, Error> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    let none =
        || Error::Invalid(format!("cannot create store secret data: environment variable {name} is not set"));
    value.map(OsStringExt::into_vec).ok_or_else(none)
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" | "/dev/stdin" => io::stdin().lock().take(TOO_MANY).read_to_end(&mut bytes),
        path => File::open(path).and_then(|file| file.take(TOO_MANY).read_to_end(&mut bytes)),
    };
    read.doing(|| format!("read {path}"))?;
    Ok(bytes)
}
