//! Resource limits: the user's apply exactly, our own as far as the machine allows.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use serde_json::{Value, json};

use crate::Error;
use crate::config::{Config, Ulimit};
use crate::error::invalid;

/// Every limit there is, by the name `--ulimit` takes.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// What a container gets unless told otherwise (Podman's defaults).
const DEFAULT: [(&str, u64); 2] = [("nofile", 1_048_576), ("nproc", 4_194_304)];

fn check(limit: &Ulimit) -> Result<(), Error> {
    if !NAMES.iter().any(|(name, _)| *name == limit.name) {
        let names = NAMES.map(|(name, _)| name).join(", ");
        return Err(invalid("ulimit", &limit.name, format!("use one of {names}")));
    }
    let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    if number(limit.soft) > number(limit.hard) {
        let hint = format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        );
        return Err(invalid("ulimit", &limit.name, hint));
    }
    Ok(())
}

pub(crate) fn resolve(config: &Config) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    if config.limits.host_ulimits {
        return Ok(out);
    }
    for limit in &config.limits.ulimits {
        check(limit)?;
        // No limit is as much as there can be.
        let number = |n: i64| u64::try_from(n).unwrap_or_else(|_| ceiling(&limit.name));
        out.push(entry(&limit.name, number(limit.soft), number(limit.hard)));
    }
    for (name, wanted) in DEFAULT {
        if !config.limits.ulimits.iter().any(|l| l.name == name) {
            let limit = wanted.min(ceiling(name));
            out.push(entry(name, limit, limit));
        }
    }
    Ok(out)
}

fn entry(name: &str, soft: u64, hard: u64) -> Value {
    json!({"type": format!("RLIMIT_{}", name.to_ascii_uppercase()), "soft": soft, "hard": hard})
}

/// The highest value this process may give: without CAP_SYS_RESOURCE, which counts for the machine's own only, its own hard limit.
fn ceiling(name: &str) -> u64 {
    let has_it = capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::SYS_RESOURCE));
    let may_raise = has_it && !loment_sys::process::is_in_user_namespace();
    let known = NAMES.iter().find(|(known, _)| *known == name);
    let own = known.and_then(|(_, resource)| getrlimit(*resource).maximum).unwrap_or(u64::MAX);
    if !may_raise {
        return own;
    }
    match name {
        // No process may be given more than this, whoever asks (sysctl fs.nr_open).
        "nofile" => std::fs::read_to_string("/proc/sys/fs/nr_open")
            .ok()
            .and_then(|t| t.trim().parse().ok())
            .unwrap_or(own),
        _ => u64::MAX,
    }
}
