//! Paths of /proc and /sys that a container does not see or cannot change.

use crate::config::Config;

/// Hidden: they show or change the host.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Visible, not writable.
const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The masked and the read-only paths of a container.
pub(crate) fn hidden(config: &Config) -> (Vec<String>, Vec<String>) {
    let (mut masked, read_only) = default(config);
    masked.extend(config.security.mask.iter().cloned());
    (masked, read_only)
}

/// Those that it has without being asked.
fn default(config: &Config) -> (Vec<String>, Vec<String>) {
    if config.security.privileged || config.security.unmask.iter().any(|u| u.eq_ignore_ascii_case("ALL")) {
        return (Vec::new(), Vec::new());
    }
    let kept = |list: &[&str]| -> Vec<String> {
        list.iter()
            .filter(|p| !config.security.unmask.iter().any(|u| shown(u, p)))
            .map(|p| (*p).to_owned())
            .collect()
    };
    let mut masked = kept(&MASKED);
    masked
        .extend(throttle_paths().into_iter().filter(|p| !config.security.unmask.iter().any(|u| shown(u, p))));
    (masked, kept(&READ_ONLY))
}

/// Whether an `unmask` value covers a path: the path itself, or a prefix ending in `*`.
fn shown(unmask: &str, path: &str) -> bool {
    match unmask.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == unmask.trim_end_matches('/'),
    }
}

/// Thermal counters tell what other users of a CPU do (Moby and Podman hide them, too).
fn throttle_paths() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let cpu = |name: &str| name.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok());
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| cpu(n));
    let paths = names.map(|n| format!("/sys/devices/system/cpu/{n}/thermal_throttle"));
    paths.filter(|p| std::path::Path::new(p).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasking_shows_what_it_names() {
        let with = |u: &[&str]| {
            let mut config = Config::default();
            config.security.unmask = u.iter().map(|s| (*s).to_owned()).collect();
            hidden(&config)
        };
        assert!(with(&[]).0.contains(&"/proc/kcore".to_owned()));
        assert!(!with(&["/proc/kcore"]).0.contains(&"/proc/kcore".to_owned()));
        let (masked, read_only) = with(&["/proc/*"]);
        assert!(
            !masked.iter().any(|p| p.starts_with("/proc")) && masked.contains(&"/sys/firmware".to_owned())
        );
        assert!(read_only.is_empty());
        assert_eq!(with(&["ALL"]), (vec![], vec![]));
        let mut config = Config::default();
        config.security.mask = vec!["/etc/x".into()];
        config.security.privileged = true;
        assert_eq!(hidden(&config), (vec!["/etc/x".to_owned()], vec![]));
    }
}
