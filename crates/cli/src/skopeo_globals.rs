//! skopeo's flags for every command. They are taken before the command and behind it, as skopeo takes them.

use std::ffi::OsString;

use crate::ecosystem::Judge;
use crate::error::Error;
use crate::globals::{Globals, Typed};

/// For the help.
pub(crate) const HELP: &str = "
Options:
      --command-timeout <TIME>      End a command that takes longer, such as 30s
      --debug                       Accepted for compatibility
      --insecure-policy             Accept every image
      --override-arch <ARCH>        Choose images for this architecture
      --override-os <OS>            Choose images for this operating system
      --override-variant <VARIANT>  Choose images for this variant of the architecture
      --policy <FILE>               Read the policy from this file
      --registries-conf <FILE>      Read what registries.conf says from this file only
      --registries.d <DIR>          Read from this directory where signatures are
      --tmpdir <DIR>                Keep large temporary files here [default: $TMPDIR, or /var/tmp]
      --user-agent-prefix <TEXT>    Tell registries this before the name of this program
  -h, --help                        Print help
  -v, --version                     Print the version
";

/// Does what a flag says; `false` for one that is none of these.
pub(crate) fn apply(globals: &mut Globals, typed: &mut Typed<'_>) -> Result<bool, Error> {
    let chosen = &mut globals.chosen;
    match typed.flag {
        "--command-timeout" => {
            let text = typed.value()?;
            let zero = Some(std::time::Duration::ZERO).filter(|_| text == "0");
            let parsed = || text.parse::<jiff::SignedDuration>().ok()?.try_into().ok();
            let bad =
                || Error::Invalid(format!("invalid value {text:?} for --command-timeout: use 30s or 5m"));
            globals.timeout = Some(zero.or_else(parsed).ok_or_else(bad)?).filter(|time| !time.is_zero());
        }
        "--debug" => drop(typed.switch()?),
        "--insecure-policy" => match (typed.switch()?, &chosen.policy) {
            (true, _) => chosen.policy = Judge::Nobody,
            (false, Judge::Nobody) => chosen.policy = Judge::Configured,
            (false, _) => {}
        },
        "--override-arch" => override_with(&mut globals.platform.architecture, typed.value()?),
        "--override-os" => override_with(&mut globals.platform.os, typed.value()?),
        "--override-variant" => {
            globals.platform.variant = Some(typed.value()?).filter(|variant| !variant.is_empty());
        }
        "--policy" => match (typed.value()?, &chosen.policy) {
            // Who accepts every image asks nobody, in whatever order it is said.
            (_, Judge::Nobody) => {}
            (file, _) => chosen.policy = Judge::File(file.into()),
        },
        "--registries-conf" => chosen.registries_conf = Some(typed.value()?.into()),
        "--registries.d" => chosen.registries_d = Some(typed.value()?.into()),
        "--require-signed" => {
            if typed.switch()? {
                let refused = "--require-signed is refused: signatures of images are not verified yet";
                return Err(Error::Invalid(refused.into()));
            }
        }
        "--tls-details" => {
            drop(typed.value()?);
            let refused =
                "--tls-details is refused: versions and ciphers of TLS cannot be chosen yet, leave it out";
            return Err(Error::Invalid(refused.into()));
        }
        "--tmpdir" => globals.tmpdir = Some(typed.value()?.into()),
        "--user-agent-prefix" => {
            let text = typed.value()?;
            if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                let bad = format!("invalid value {text:?} for --user-agent-prefix: use printable ASCII");
                return Err(Error::Invalid(bad));
            }
            chosen.user_agent_prefix = Some(text);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// An empty word chooses nothing.
fn override_with(what: &mut String, word: String) {
    if !word.is_empty() {
        *what = word;
    }
}

/// Takes these flags out of a command's own.
pub(crate) fn take_from(globals: &mut Globals, arguments: &[OsString]) -> Result<Vec<OsString>, Error> {
    let (mut left, mut at) = (Vec::new(), 0);
    while let Some(argument) = arguments.get(at) {
        if argument == "--" {
            left.extend_from_slice(&arguments[at..]);
            break;
        }
        let mut typed = Typed::new(arguments, &mut at);
        if !apply(globals, &mut typed)? {
            left.push(argument.clone());
        }
        at += 1;
    }
    Ok(left)
}
