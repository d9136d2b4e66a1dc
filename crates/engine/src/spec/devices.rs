//! Devices of the host in a container.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Error;
use crate::config::{Config, DeviceUse};
use crate::error::{Context, invalid};

/// Nodes to make, and cgroup rules in their order.
pub(crate) struct Devices {
    pub(crate) nodes: Vec<Value>,
    /// Nodes of the host, and where they are mounted: an ordinary user can make none.
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    pub(crate) rules: Vec<Value>,
}

pub(crate) fn resolve(config: &Config) -> Result<Devices, Error> {
    let is_rootless = loment_sys::process::is_in_user_namespace();
    if config.security.privileged {
        // Every device of the host, and the right to use any.
        let mut nodes = Vec::new();
        host_devices(Path::new("/dev"), 0, &mut nodes);
        if config.process.systemd {
            nodes.retain(|node| !is_console(node["path"].as_str().unwrap_or_default()));
        }
        let path = |node: &Value| node["path"].as_str().map(PathBuf::from);
        let mounts = if is_rootless {
            nodes.iter().filter_map(path).map(|path| (path.clone(), path)).collect()
        } else {
            Vec::new()
        };
        if is_rootless {
            nodes.clear();
        }
        return Ok(Devices { nodes, mounts, rules: vec![json!({"allow": true, "access": "rwm"})] });
    }
    let mut out = Devices {
        nodes: Vec::new(),
        mounts: Vec::new(),
        rules: vec![json!({"allow": false, "access": "rwm"})],
    };
    for device in &config.devices.nodes {
        let (node, rule) = one(device)?;
        match is_rootless {
            true => out.mounts.push((device.host.clone(), device.container.clone())),
            false => out.nodes.push(node),
        }
        out.rules.push(rule);
    }
    for text in &config.devices.rules {
        out.rules.push(rule(text)?);
    }
    Ok(out)
}

/// A rule such as `c 1:3 rwm`.
fn rule(text: &str) -> Result<Value, Error> {
    let bad = |problem| Error::DeviceRule { problem };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = words[..] else {
        return Err(bad(format!(
            "invalid device cgroup rule requires type, major:Minor, and access rules: {text:?}"
        )));
    };
    if !["a", "b", "c"].contains(&kind) {
        return Err(bad(format!("invalid device type in device-access-add: {kind}")));
    }
    let (major, minor) = numbers.split_once(':').unwrap_or((numbers, "*"));
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => {
            let invalid = |_| bad(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
            text.parse::<u32>().map(Some).map_err(invalid)
        }
    };
    if let Some(other) = access.chars().find(|c| !"rwm".contains(*c)) {
        return Err(bad(format!("invalid device access in device-access-add: {other}")));
    }
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    for (name, value) in [("major", number(major)?), ("minor", number(minor)?)] {
        if let Some(value) = value {
            rule[name] = value.into();
        }
    }
    Ok(rule)
}

fn one(device: &DeviceUse) -> Result<(Value, Value), Error> {
    let shown = device.host.display().to_string();
    if device.access.is_empty() || device.access.chars().any(|c| !"rwm".contains(c)) {
        return Err(invalid("device mode", &device.access, "use one or more of r, w and m"));
    }
    let meta = std::fs::metadata(&device.host).context("stat", &shown)?;
    let node =
        node(&device.container, &meta).ok_or_else(|| invalid("device", &shown, "it is not a device node"))?;
    let rule = json!({
        "allow": true, "type": node["type"], "major": node["major"], "minor": node["minor"],
        "access": device.access,
    });
    Ok((node, rule))
}

fn node(path: &Path, meta: &std::fs::Metadata) -> Option<Value> {
    let kind = if meta.file_type().is_char_device() {
        "c"
    } else if meta.file_type().is_block_device() {
        "b"
    } else {
        return None;
    };
    let number = meta.rdev();
    Some(json!({
        "path": path, "type": kind,
        "major": rustix::fs::major(number), "minor": rustix::fs::minor(number),
        "fileMode": meta.mode() & 0o7777, "uid": meta.uid(), "gid": meta.gid(),
    }))
}

/// Whether it is one of the machine's virtual consoles, on which a systemd would have people log in.
fn is_console(path: &str) -> bool {
    let number = path.strip_prefix("/dev/tty").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The host's nodes, without terminals and shared memory, of which the container has its own.
fn host_devices(dir: &Path, depth: u32, out: &mut Vec<Value>) {
    const OWN: [&str; 12] =
        ["pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty"];
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if depth == 0 && OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() && depth < 8 {
            host_devices(&path, depth + 1, out);
        } else {
            out.extend(node(&path, &meta));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_or_refused_by_name() {
        assert_eq!(rule("b 8:* r").unwrap(), json!({"allow": true, "type": "b", "access": "r", "major": 8}));
        // Without a minor number it is for all.
        assert_eq!(rule("c 7 r").unwrap(), json!({"allow": true, "type": "c", "access": "r", "major": 7}));
        assert_eq!(rule("a *:* rwm").unwrap(), json!({"allow": true, "type": "a", "access": "rwm"}));
        for bad in ["", "c 1:3", "d 1:3 r", "c 1:x r", "c 1:3 rx", "c 1:3 r r"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
