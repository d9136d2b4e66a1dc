//! Values of flags.

use std::path::{Path, PathBuf};

use loment_engine::config::{DeviceUse, IdMapping, Network, Ulimit, Users, Volume};

use crate::error::{Doing, Error};
use crate::persona::Persona;
use crate::units::parse_size;

fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::Invalid(message))
}

/// A size in bytes.
pub(super) fn size(flag: &str, text: &str) -> Result<i64, Error> {
    parse_size(text).ok_or_else(|| {
        Error::Invalid(format!("invalid value {text:?} for --{flag}: use a size such as 64m or 2g"))
    })
}

/// `--memory-swap`: a size, or -1.
pub(super) fn swap(text: &str) -> Result<i64, Error> {
    if text == "-1" { Ok(-1) } else { size("memory-swap", text) }
}

/// `--cpus 1.5` as microseconds per 100 ms.
pub(super) fn cpus(text: &str) -> Result<i64, Error> {
    match text.parse::<f64>() {
        Ok(n) if (0.001..=4096.0).contains(&n) => Ok((n * 100_000.0).round() as i64),
        _ => invalid(format!("invalid value {text:?} for --cpus: use a number of CPUs such as 1.5")),
    }
}

/// `NAME=SOFT[:HARD]`; -1 is unlimited.
pub(super) fn ulimit(text: &str) -> Result<Ulimit, Error> {
    let bad = || Error::Invalid(format!("invalid value {text:?} for --ulimit: use NAME=SOFT[:HARD]"));
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |n: &str| match n {
        "unlimited" => Ok(-1),
        n => n.parse::<i64>().ok().filter(|&n| n >= -1).ok_or_else(bad),
    };
    Ok(Ulimit { name: name.to_ascii_lowercase(), soft: number(soft)?, hard: number(hard)? })
}

/// `SOURCE:DESTINATION[:OPTIONS]`
pub(super) fn volume(text: &str, persona: &Persona) -> Result<Volume, Error> {
    let mut parts = text.splitn(3, ':');
    let (source, destination, options) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(destination) = destination.filter(|d| !d.is_empty()) else {
        return invalid(format!(
            "invalid value {text:?} for --volume: anonymous volumes are not supported yet, use SOURCE:DESTINATION"
        ));
    };
    if !source.starts_with('/') && !source.starts_with('.') {
        return invalid(format!(
            "invalid value {text:?} for --volume: named volumes are not supported yet, use a path as the source"
        ));
    }
    if !destination.starts_with('/') {
        return invalid(format!(
            "invalid value {text:?} for --volume: the destination must be an absolute path"
        ));
    }
    let source = std::path::absolute(source).doing(|| format!("find {source}"))?;
    if persona.makes_volume_source && !source.exists() {
        std::fs::create_dir_all(&source).doing(|| format!("create {}", source.display()))?;
    }
    let mut kept = Vec::new();
    for option in options.unwrap_or_default().split(',').filter(|o| !o.is_empty()) {
        match option {
            // Labels are for SELinux; where it is off, as here, they mean nothing.
            "z" | "Z" => {}
            "U" | "O" | "idmap" | "copy" | "nocopy" => {
                return invalid(format!("volume option {option:?} in {text:?} is not supported yet"));
            }
            "ro" | "rw" | "rbind" | "bind" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec"
            | "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" | "unbindable"
            | "runbindable" | "noatime" | "relatime" | "nodiratime" | "rro" => kept.push(option.to_owned()),
            other => return invalid(format!("invalid volume option {other:?} in {text:?}")),
        }
    }
    if kept.iter().any(|o| o == "ro") && kept.iter().any(|o| o == "rw") {
        return invalid(format!("volume options ro and rw in {text:?} exclude each other"));
    }
    Ok(Volume { source, destination: destination.into(), options: kept })
}

/// `DESTINATION[:OPTIONS]`
pub(super) fn tmpfs(text: &str) -> Result<(PathBuf, Vec<String>), Error> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    if !destination.starts_with('/') {
        return invalid(format!(
            "invalid value {text:?} for --tmpfs: use an absolute path, then options after a colon"
        ));
    }
    let mut all: Vec<String> = ["rw", "nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "notmpcopyup" => all.retain(|o| o != "tmpcopyup"),
            "ro" => all.retain(|o| o != "rw"),
            "suid" => all.retain(|o| o != "nosuid"),
            "dev" => all.retain(|o| o != "nodev"),
            _ => {}
        }
        if option != "notmpcopyup" {
            all.push(option.to_owned());
        }
    }
    Ok((destination.into(), all))
}

/// `HOST[:CONTAINER[:ACCESS]]`
pub(super) fn device(text: &str) -> Result<DeviceUse, Error> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_access = |s: &str| !s.is_empty() && s.chars().all(|c| "rwm".contains(c));
    let (host, container, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if is_access(second) => (*host, *host, *second),
        [host, container] => (*host, *container, "rwm"),
        [host, container, access] => (*host, *container, *access),
        _ => return invalid(format!("invalid value {text:?} for --device: use HOST[:CONTAINER[:rwm]]")),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return invalid(format!("invalid value {text:?} for --device: use absolute paths"));
    }
    Ok(DeviceUse { host: host.into(), container: container.into(), access: access.into() })
}

/// `--network`
pub(super) fn network(text: &str) -> Result<Network, Error> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => invalid(format!("network {other:?} is not supported yet: use none or host")),
    }
}

/// `NAME=VALUE`, or `NAME` for the value it has here; `None` when it has none.
pub(super) fn environment(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() || text.starts_with('=') {
        return invalid(format!("invalid environment variable {text:?}: use NAME=VALUE"));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    if let Some(prefix) = text.strip_suffix('*') {
        return invalid(format!(
            "invalid environment variable {text:?}: patterns such as {prefix}* are not supported yet"
        ));
    }
    Ok(std::env::var(text).ok().map(|value| format!("{text}={value}")))
}

/// The lines of an environment file: comments and blank lines are left out.
pub(super) fn environment_file(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).doing(|| format!("read environment file {}", path.display()))?;
    let mut out = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        out.extend(environment(line)?);
    }
    Ok(out)
}

/// `NAME=VALUE` or `NAME` for an empty value.
pub(super) fn label(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some(("", _)) => invalid(format!("invalid label {text:?}: use NAME=VALUE")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None if text.is_empty() => invalid("invalid label \"\": use NAME=VALUE".into()),
        None => Ok((text.to_owned(), String::new())),
    }
}

/// An entry point: a JSON list, or one word; empty removes the image's.
pub(super) fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(list) => list,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}

/// `--uidmap` and `--gidmap`: without one of them the other counts for both.
pub(super) fn users(uids: &[String], gids: &[String]) -> Result<Option<Users>, Error> {
    let read = |flag: &str, texts: &[String]| -> Result<Vec<IdMapping>, Error> {
        texts.iter().map(|text| id_mapping(flag, text)).collect()
    };
    let mut users = Users { uids: read("--uidmap", uids)?, gids: read("--gidmap", gids)? };
    match (users.uids.is_empty(), users.gids.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => users.uids.clone_from(&users.gids),
        (false, true) => users.gids.clone_from(&users.uids),
        (false, false) => {}
    }
    if users.root().is_none() {
        return Err(Error::Invalid(
            "--uidmap and --gidmap must say who the container's user and group 0 are: add 0:HOST:NUMBER"
                .into(),
        ));
    }
    Ok(Some(users))
}

fn id_mapping(flag: &str, text: &str) -> Result<IdMapping, Error> {
    let numbers: Vec<Option<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
    let fits = |first: u32, size: u32| first.checked_add(size).is_some();
    match numbers[..] {
        [Some(container_id), Some(host_id)] => Ok(IdMapping { container_id, host_id, size: 1 }),
        [Some(container_id), Some(host_id), Some(size)]
            if size > 0 && fits(container_id, size) && fits(host_id, size) =>
        {
            Ok(IdMapping { container_id, host_id, size })
        }
        _ => Err(Error::Invalid(format!("invalid value {text:?} for {flag}: use CONTAINER:HOST:NUMBER"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused_by_name() {
        assert_eq!(cpus("1.5").unwrap(), 150_000);
        assert!(cpus("0").is_err() && cpus("-1").is_err() && cpus("nan").is_err());
        let u = ulimit("nofile=10:20").unwrap();
        assert_eq!((u.name.as_str(), u.soft, u.hard), ("nofile", 10, 20));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        assert!(ulimit("nofile").is_err() && ulimit("nofile=x").is_err() && ulimit("a=-2").is_err());
        let loment = Persona::of("loment");
        let v = volume("/a:/b:ro,Z", loment).unwrap();
        assert_eq!((v.destination, v.options), ("/b".into(), vec!["ro".to_owned()]));
        for bad in ["data:/b", "/a", "/a:b", "/a:/b:foo", "/a:/b:ro,rw", "/a:/b:U"] {
            assert!(volume(bad, loment).is_err(), "{bad}");
        }
        assert_eq!(device("/dev/null:rw").unwrap().access, "rw");
        assert_eq!(device("/dev/null:/dev/x:r").unwrap().container, Path::new("/dev/x"));
        assert!(device("null").is_err());
        assert!(network("bridge").is_err());
        assert_eq!(entrypoint(r#"["a","b"]"#), ["a", "b"]);
        assert_eq!(entrypoint("/bin/sh"), ["/bin/sh"]);
    }
}
