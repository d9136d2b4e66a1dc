//! Resource limits: the user's apply exactly, our own as far as the machine allows.

use serde_json::{Value, json};

use crate::Error;
use crate::config::{Config, Ulimit};
use crate::error::invalid;

/// Every limit there is, by the name `--ulimit` takes.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// What a container gets unless told otherwise (Podman's defaults).
const DEFAULT: [(&str, u64); 2] = [("nofile", 1_048_576), ("nproc", 4_194_304)];

fn check(limit: &Ulimit) -> Result<(), Error> {
    if !NAMES.contains(&limit.name.as_str()) {
        return Err(invalid("ulimit", &limit.name, format!("use one of {}", NAMES.join(", "))));
    }
    let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    if number(limit.soft) > number(limit.hard) {
        let hint = format!("soft limit {} is above hard limit {}", limit.soft, limit.hard);
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
        let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
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

/// The highest value this process may give: without CAP_SYS_RESOURCE its own hard limit.
fn ceiling(name: &str) -> u64 {
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};
    let may_raise = capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::SYS_RESOURCE));
    let resource = if name == "nofile" { Resource::Nofile } else { Resource::Nproc };
    let own = getrlimit(resource).maximum.unwrap_or(u64::MAX);
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
