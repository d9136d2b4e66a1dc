//! The clock: certificates and images are judged by it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Finding, Findings};
use crate::globals::Globals;

/// A file is not changed in the future, but for clocks of other machines.
const TOLERANCE: Duration = Duration::from_secs(10 * 60);
/// Where distributions have their list of authorities.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const ADVICE: &str = "set the clock: certificates of registries count as not valid yet until then";

pub(super) fn find(globals: &Globals) -> Vec<Finding> {
    let mut found = Findings::about("time");
    let now = SystemTime::now();
    let shown = |time: SystemTime| {
        jiff::Timestamp::try_from(time)
            .map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    };
    let authorities = AUTHORITIES.into_iter().find(|file| Path::new(file).exists());
    let newest = newest_in(&globals.root().join("images"));
    let marks = [
        ("this program", Some(PathBuf::from("/proc/self/exe"))),
        ("the list of certificate authorities", authorities.map(PathBuf::from)),
        ("the newest image here", newest),
    ];
    let changed = |file: &PathBuf| file.metadata().and_then(|meta| meta.modified()).ok();
    let known = marks.iter().filter_map(|(what, file)| Some((*what, changed(file.as_ref()?)?)));
    let known: Vec<_> = known.collect();
    let before = known.len();
    let wrong: Vec<_> = known.into_iter().filter(|(_, time)| *time > now + TOLERANCE).collect();
    for (what, time) in &wrong {
        found.problem(
            format_args!("the clock says {}, but {what} is of {}", shown(now), shown(*time)),
            ADVICE,
        );
    }
    if wrong.is_empty() {
        match before {
            0 => found.note(
                format_args!("the clock says {}, and nothing is here to compare it with", shown(now)),
                "",
            ),
            _ => found.fine(format_args!("the clock says {}, which nothing here contradicts", shown(now))),
        }
    }
    match loment_sys::clock::is_synchronised() {
        Ok(true) => found.fine("the clock is kept right"),
        Ok(false) => found.note(
            "nobody keeps the clock right, by what the kernel knows",
            "start chrony, systemd-timesyncd or ntpd; in a virtual machine the host may do it without the kernel's knowledge",
        ),
        Err(error) => found.note(
            format_args!(
                "whether the clock is kept right cannot be found out: {}",
                crate::error::without_numbers(&error.to_string())
            ),
            "",
        ),
    }
    found.all
}

/// The file that was changed last in a directory.
fn newest_in(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let dated = entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    Some(dated.max()?.1)
}
