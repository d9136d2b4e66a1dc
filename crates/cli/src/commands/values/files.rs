//! What a container sees of files.

use std::path::PathBuf;

use loment_engine::config::{Relabel, Volume};

use super::invalid;
use crate::error::{Doing, Error};
use crate::persona::Persona;

/// `SOURCE:DESTINATION[:OPTIONS]`
pub(in crate::commands) fn volume(text: &str, persona: &Persona) -> Result<Volume, Error> {
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
    let mut relabel = None;
    for option in options.unwrap_or_default().split(',').filter(|o| !o.is_empty()) {
        match option {
            // Labels are for SELinux; where it is off they mean nothing.
            "z" => relabel = Some(Relabel::Shared),
            "Z" => relabel = Some(Relabel::Private),
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
    Ok(Volume { source, destination: destination.into(), options: kept, relabel })
}

/// `DESTINATION[:OPTIONS]`
pub(in crate::commands) fn tmpfs(text: &str) -> Result<(PathBuf, Vec<String>), Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_or_refused_by_name() {
        let loment = Persona::of("loment");
        let v = volume("/a:/b:ro,Z", loment).unwrap();
        assert_eq!(
            (v.destination, v.options, v.relabel),
            ("/b".into(), vec!["ro".to_owned()], Some(Relabel::Private))
        );
        for bad in ["data:/b", "/a", "/a:b", "/a:/b:foo", "/a:/b:ro,rw", "/a:/b:U"] {
            assert!(volume(bad, loment).is_err(), "{bad}");
        }
    }
}
