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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn devices_are_read_or_refused_by_name() {
        assert_eq!(device("/dev/null:rw").unwrap().access, "rw");
        assert_eq!(device("/dev/null:/dev/x:r").unwrap().container, Path::new("/dev/x"));
        assert!(device("null").is_err());
    }
}
