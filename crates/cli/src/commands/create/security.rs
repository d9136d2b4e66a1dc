//! Flags: what a container may do.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::{Seccomp, Security};

use crate::error::{Doing, Error};

#[derive(Args, Debug)]
#[command(next_help_heading = "Security")]
pub(super) struct SecurityFlags {
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give all devices and capabilities, and hide nothing of the host
    #[arg(long)]
    privileged: bool,
    /// Set a security option: seccomp=FILE|unconfined, no-new-privileges, unmask=PATHS|ALL
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
}

impl SecurityFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        let list = |names: &[String]| -> Vec<String> {
            names.iter().flat_map(|n| n.split(',')).map(str::to_owned).collect()
        };
        let security = &mut asked.config.security;
        security.privileged = self.privileged;
        security.cap_add = list(&self.cap_add);
        security.cap_drop = list(&self.cap_drop);
        self.security_opt.iter().try_for_each(|text| option(text, security))
    }
}

/// `--security-opt`
fn option(text: &str, out: &mut Security) -> Result<(), Error> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    match (name, value) {
        ("no-new-privileges", "" | "true") => out.no_new_privileges = true,
        ("no-new-privileges", "false") => out.no_new_privileges = false,
        ("seccomp", "unconfined") => out.seccomp = Seccomp::Unconfined,
        ("seccomp", "") => {
            return Err(Error::Invalid("--security-opt seccomp= needs a file or unconfined".into()));
        }
        ("seccomp", file) => {
            let json = std::fs::read_to_string(file).doing(|| format!("open seccomp profile {file}"))?;
            out.seccomp = Seccomp::Profile(json);
        }
        ("unmask", paths) if !paths.is_empty() => out.unmask.extend(paths.split(':').map(str::to_owned)),
        // SELinux and AppArmor do nothing where they are off; asking for nothing is fine.
        ("label", "disable") | ("apparmor", "unconfined") => {}
        _ => return Err(Error::Invalid(format!("security option {text:?} is not supported"))),
    }
    Ok(())
}
