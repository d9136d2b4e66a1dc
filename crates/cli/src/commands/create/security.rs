//! Flags: what a container may do.

use std::path::Path;

use clap::{Args, ValueEnum};
use loment_engine::Create;
use loment_engine::config::{Seccomp, Security};

use crate::arguments::boolean;
use crate::commands::values::{list, security as values};
use crate::containers_conf::{CONTAINERS, ContainersConf, ENGINE};
use crate::error::{Doing, Error};

/// The system call filter that this machine's administrator has chosen. What packages bring in /usr/share is other programs' default, and
/// to read it would cost each start milliseconds.
const SECCOMP: &str = "/etc/containers/seccomp.json";

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
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    privileged: Option<bool>,
    /// Set a security option: seccomp=FILE|unconfined, no-new-privileges, mask=PATHS, unmask=PATHS|ALL, proc-opts=OPTIONS, apparmor=PROFILE|unconfined, label=disable, systempaths=unconfined, writable-cgroups
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Choose the filter of system calls: default, or image for the one of the image's label io.containers.seccomp.profile
    #[arg(long, value_name = "POLICY", value_enum, hide_possible_values = true)]
    seccomp_policy: Option<Policy>,
    /// Set a parameter of the kernel that the container has of its own
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    Default,
    Image,
}

impl SecurityFlags {
    pub(super) fn apply(&self, conf: &ContainersConf, asked: &mut Create) -> Result<(), Error> {
        asked.choices.seccomp_of_image = self.seccomp_policy == Some(Policy::Image);
        let sysctls = list(&self.sysctl);
        asked.config.namespaces.sysctls =
            sysctls.iter().map(|text| values::sysctl(text)).collect::<Result<_, _>>()?;
        let security = &mut asked.config.security;
        security.privileged = conf.switched(self.privileged, "privileged", false)?;
        security.cap_add = list(&self.cap_add);
        security.cap_drop = list(&self.cap_drop);
        self.security_opt.iter().try_for_each(|text| option(text, security))?;
        let chosen = self.security_opt.iter().any(|text| text.starts_with("seccomp"));
        usual(conf, chosen, asked)
    }
}

/// What holds where flags say nothing.
fn usual(conf: &ContainersConf, filter_is_chosen: bool, asked: &mut Create) -> Result<(), Error> {
    let sysctls = conf.list_as(CONTAINERS, "default_sysctls", values::sysctl)?;
    asked.choices.usual_sysctls.extend(sysctls);
    let security = &mut asked.config.security;
    if conf.list(CONTAINERS, "default_capabilities")?.is_some() {
        let known = |name: &str| match loment_runtime::CapabilitySet::parse(name) {
            Some(_) => Ok(name.to_owned()),
            None => Err(Error::Invalid("there is no such capability, see capabilities(7)".into())),
        };
        security.capabilities = Some(conf.list_as(CONTAINERS, "default_capabilities", known)?);
    }
    if !filter_is_chosen && !security.privileged {
        security.seccomp = match conf.text_as(CONTAINERS, "seccomp_profile", usual_filter)? {
            Some(filter) => filter,
            None if Path::new(SECCOMP).exists() => Seccomp::Machine(SECCOMP.into()),
            None => Seccomp::Default,
        };
    }
    if security.apparmor.is_none() && !security.privileged && loment_runtime::has_apparmor() {
        security.apparmor = conf.text(CONTAINERS, "apparmor_profile")?.map(|said| said.value.to_owned());
    }
    if security.labels.is_empty() && conf.switch(CONTAINERS, "label")? == Some(false) {
        security.labels.push("disable".into());
    }
    if conf.switch(CONTAINERS, "label_users")? == Some(true) && loment_runtime::has_selinux() {
        return Err(Error::Invalid(
            "label_users of containers.conf is not supported: programs have no SELinux labels yet; leave it out".into(),
        ));
    }
    security.no_pivot = conf.switch(ENGINE, "no_pivot_root")? == Some(true);
    security.no_keyring = conf.switch(CONTAINERS, "keyring")? == Some(false);
    Ok(())
}

/// `seccomp_profile`
fn usual_filter(text: &str) -> Result<Seccomp, Error> {
    if text == "unconfined" {
        return Ok(Seccomp::Unconfined);
    }
    let json = std::fs::read(text).doing(|| "read it".into())?;
    loment_engine::check_filter(&json)?;
    Ok(Seccomp::Machine(std::path::absolute(text).doing(|| "find it".into())?))
}

/// `--security-opt`: a colon behind the name is Docker's old spelling.
pub(super) fn option(text: &str, out: &mut Security) -> Result<(), Error> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    let paths = || value.split(':').map(str::to_owned);
    match (name, value) {
        ("no-new-privileges", "") => out.no_new_privileges = true,
        ("no-new-privileges", value) => out.no_new_privileges = switch(text, value)?,
        ("writable-cgroups", "") => out.writable_cgroups = true,
        ("writable-cgroups", value) => out.writable_cgroups = switch(text, value)?,
        ("seccomp", "unconfined") => out.seccomp = Seccomp::Unconfined,
        // Docker's word for the default one.
        ("seccomp", "builtin") => out.seccomp = Seccomp::Default,
        ("seccomp", "") => {
            return Err(Error::Invalid("--security-opt seccomp= needs a file or unconfined".into()));
        }
        ("seccomp", file) => {
            let json = std::fs::read_to_string(file).doing(|| format!("open seccomp profile {file}"))?;
            out.seccomp = Seccomp::Profile(json);
        }
        ("mask", value) if paths().all(|path| path.starts_with('/') && path != "/") && !value.is_empty() => {
            out.mask.extend(paths());
        }
        ("unmask", value) if !value.is_empty() => out.unmask.extend(paths()),
        ("systempaths", "unconfined") => out.unmask.push("ALL".into()),
        ("proc-opts", value) if !value.is_empty() => {
            out.proc_options.extend(value.split(',').map(str::to_owned));
        }
        ("apparmor", profile) if !profile.is_empty() => out.apparmor = Some(profile.to_owned()),
        ("label", value) if values::is_label(value) => out.labels.push(value.to_owned()),
        _ => return Err(Error::Invalid(format!("security option {text:?} is not supported"))),
    }
    Ok(())
}

fn switch(text: &str, value: &str) -> Result<bool, Error> {
    boolean(value).map_err(|hint| Error::Invalid(format!("invalid --security-opt {text:?}: {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str]) -> Result<Security, Error> {
        let mut security = Security::default();
        options.iter().try_for_each(|text| option(text, &mut security)).map(|()| security)
    }

    #[test]
    fn options_have_the_spellings_of_both_peers() {
        for yes in
            ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true", "no-new-privileges=1"]
        {
            assert!(of(&[yes]).unwrap().no_new_privileges, "{yes}");
            assert!(!of(&[yes, "no-new-privileges:false"]).unwrap().no_new_privileges);
        }
        assert_eq!(of(&["systempaths=unconfined"]).unwrap().unmask, ["ALL"]);
        assert_eq!(of(&["mask=/a:/b", "mask=/c"]).unwrap().mask, ["/a", "/b", "/c"]);
        assert_eq!(of(&["proc-opts=hidepid=2,gid=4"]).unwrap().proc_options, ["hidepid=2", "gid=4"]);
        assert_eq!(of(&["label:disable", "label=type:x_t"]).unwrap().labels, ["disable", "type:x_t"]);
        assert_eq!(of(&["apparmor:unconfined"]).unwrap().apparmor.as_deref(), Some("unconfined"));
        assert!(of(&["writable-cgroups"]).unwrap().writable_cgroups);
        assert!(!of(&["writable-cgroups=false"]).unwrap().writable_cgroups);
        for bad in [
            "x",
            "x=y",
            "no-new-privileges=x",
            "mask=",
            "mask=a",
            "mask=/",
            "unmask=",
            "proc-opts",
            "apparmor=",
            "label=",
            "label=x",
            "label=type:",
            "systempaths=x",
            "seccomp",
        ] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
    }
}
