//! Devices.

use loment_engine::config::DeviceUse;

use super::invalid;
use crate::error::Error;

/// `HOST[:CONTAINER[:ACCESS]]`
pub(in crate::commands) fn device(text: &str) -> Result<DeviceUse, Error> {
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

/// What describes GPUs, and where their names come from.
const GPU: &str = "nvidia.com/gpu";

/// `all`, a number of GPUs, or Docker's `device=NAME,…` with other keys that mean nothing for devices that are described.
pub(in crate::commands) fn gpus(text: &str) -> Result<Vec<String>, Error> {
    let bad = || invalid(format!("invalid value {text:?} for --gpus: use all, a number or device=NAME,..."));
    let named = |name: &str| format!("{GPU}={name}");
    let of_number =
        |text: &str| text.parse::<u16>().ok().map(|n| (0..n).map(|n| named(&n.to_string())).collect());
    if text == "all" || text == "count=all" {
        return Ok(vec![named("all")]);
    }
    if let Some(all) = of_number(text.strip_prefix("count=").unwrap_or(text)) {
        return Ok(all);
    }
    // A list in quotes is one value; without them, what has no key belongs to the one before.
    let mut names = Vec::new();
    let mut key = "";
    for word in text.split(',') {
        let (own, value) = word.split_once('=').unwrap_or((key, word));
        key = own.trim_matches('"');
        match key {
            "device" => names.push(named(value.trim_matches('"'))),
            "capabilities" | "driver" | "options" => {}
            // A name alone, as Podman has it.
            "" => names.push(named(value)),
            _ => return bad(),
        }
    }
    match names.iter().all(|name| loment_image::conf::is_device_name(name)) && !names.is_empty() {
        true => Ok(names),
        false => bad(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn gpus_are_names_of_devices() {
        let of = |text| gpus(text).map(|names| names.join(" ")).ok();
        assert_eq!(of("all").as_deref(), Some("nvidia.com/gpu=all"));
        assert_eq!(of("2").as_deref(), Some("nvidia.com/gpu=0 nvidia.com/gpu=1"));
        assert_eq!(of("\"device=0,GPU-1\"").as_deref(), Some("nvidia.com/gpu=0 nvidia.com/gpu=GPU-1"));
        assert_eq!(of("device=1,capabilities=utility").as_deref(), Some("nvidia.com/gpu=1"));
        assert_eq!((of("device="), of("x=y"), of("")), (None, None, None));
    }

    #[test]
    fn devices_are_read_or_refused_by_name() {
        assert_eq!(device("/dev/null:rw").unwrap().access, "rw");
        assert_eq!(device("/dev/null:/dev/x:r").unwrap().container, Path::new("/dev/x"));
        assert!(device("null").is_err());
    }
}
