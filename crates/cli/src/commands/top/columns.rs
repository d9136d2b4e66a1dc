//! The columns of `top`: ps(1)'s names of POSIX, and those that psgo, Podman's library, has besides.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use loment_engine::Process;

use crate::units::go_duration;

/// A column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The one letter that ps(1) has for it after a percent sign, if any.
    code: &'static str,
    pub(super) header: &'static str,
    pub(super) value: fn(&Process) -> String,
}

const fn new(
    name: &'static str,
    code: &'static str,
    header: &'static str,
    value: fn(&Process) -> String,
) -> Column {
    Column { name, code, header, value }
}

const USER: Column = new("user", "%U", "USER", |p| p.user.clone());
const PID: Column = new("pid", "%p", "PID", |p| p.pid.to_string());
const PPID: Column = new("ppid", "%P", "PPID", |p| p.ppid.to_string());
const PCPU: Column = new("pcpu", "%C", "%CPU", |p| format!("{:.3}", percent(p)));
const ETIME: Column = new("etime", "%t", "ELAPSED", |p| go_duration(p.age));
const TTY: Column = new("tty", "%y", "TTY", |p| p.tty.clone());
const TIME: Column = new("time", "%x", "TIME", |p| go_duration(p.cpu));
const ARGS: Column = new("args", "%a", "COMMAND", |p| p.args.clone());

/// What Podman shows when nothing is asked for.
pub(super) const PODMAN: [Column; 8] = [USER, PID, PPID, PCPU, ETIME, TTY, TIME, ARGS];

/// What Docker shows: `ps -ef` of the host.
pub(super) const DOCKER: [Column; 8] = [
    new("huser", "", "UID", |p| p.host_user.clone()),
    new("hpid", "", "PID", |p| p.host_pid.to_string()),
    new("hppid", "", "PPID", |p| p.host_ppid.to_string()),
    new("c", "", "C", |p| format!("{:.0}", percent(p).min(99.0))),
    new("stime", "", "STIME", |p| when(p, Zoned::now())),
    TTY,
    new("time", "", "TIME", |p| clock(p.cpu)),
    new("args", "", "CMD", |p| p.args.clone()),
];

const OTHERS: [Column; 22] = [
    new("capamb", "", "AMBIENT CAPS", |p| p.ambient.to_string()),
    new("capbnd", "", "BOUNDING CAPS", |p| p.bounding.to_string()),
    new("capeff", "", "EFFECTIVE CAPS", |p| p.effective.to_string()),
    new("capinh", "", "INHERITED CAPS", |p| p.inheritable.to_string()),
    new("capprm", "", "PERMITTED CAPS", |p| p.permitted.to_string()),
    new("comm", "%c", "COMMAND", |p| p.comm.clone()),
    new("group", "%G", "GROUP", |p| p.group.clone()),
    new("groups", "", "GROUPS", |p| p.groups.join(",")),
    new("hgroup", "", "HGROUP", |p| p.host_group.clone()),
    new("hgroups", "", "HGROUPS", |p| p.host_groups.join(",")),
    new("hpid", "", "HPID", |p| p.host_pid.to_string()),
    new("huser", "", "HUSER", |p| p.host_user.clone()),
    new("label", "", "LABEL", |p| if p.label.is_empty() { "?".into() } else { p.label.clone() }),
    new("nice", "%n", "NI", |p| p.nice.to_string()),
    new("pgid", "%r", "PGID", |p| p.pgid.to_string()),
    new("rgroup", "%g", "RGROUP", |p| p.real_group.clone()),
    new("rss", "", "RSS", |p| p.rss.to_string()),
    new("ruser", "%u", "RUSER", |p| p.real_user.clone()),
    new("seccomp", "", "SECCOMP", |p| p.seccomp.to_owned()),
    new("state", "", "STATE", |p| p.state.to_string()),
    new("stime", "", "STIME", |p| began(p, Zoned::now()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()),
    new("vsz", "%z", "VSZ", |p| p.vsz.to_string()),
];

/// The column of that name, or of that letter after a percent sign.
pub(super) fn column(name: &str) -> Option<Column> {
    let all = || PODMAN.into_iter().chain(OTHERS);
    all().find(|column| column.name == name || (!column.code.is_empty() && column.code == name))
}

/// The names of all columns.
pub(in crate::commands) fn names() -> impl Iterator<Item = &'static str> {
    PODMAN.into_iter().chain(OTHERS).map(|column| column.name)
}

/// Of one CPU since it was started.
fn percent(process: &Process) -> f64 {
    if process.age == 0 { 0.0 } else { process.cpu as f64 * 100.0 / process.age as f64 }
}

fn began(process: &Process, now: Zoned) -> Zoned {
    let age = SignedDuration::from_nanos(i64::try_from(process.age).unwrap_or(i64::MAX));
    // Nothing is older than time.
    now.checked_sub(age).unwrap_or_else(|_| Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
}

/// The hour of today, or the day.
fn when(process: &Process, now: Zoned) -> String {
    let began = began(process, now.clone());
    let form = if began.date() == now.date() { "%H:%M" } else { "%b%d" };
    began.strftime(form).to_string()
}

/// Hours, minutes and seconds.
fn clock(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let mut names: Vec<_> = PODMAN.iter().chain(&OTHERS).map(|column| column.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!((names.len(), all), (30, 30));
        assert_eq!(column("%z").unwrap().name, "vsz");
        assert!(column("").is_none() && column("-ef").is_none());
        assert_eq!(clock(3_661_000_000_000), "01:01:01");
    }

    #[test]
    fn what_began_on_another_day_says_which() {
        let now: Timestamp = "2026-03-02T12:30:00Z".parse().unwrap();
        let now = now.to_zoned(TimeZone::UTC);
        let process = |hours: u64| Process { age: hours * 3_600_000_000_000, ..Process::default() };
        assert_eq!(when(&process(1), now.clone()), "11:30");
        assert_eq!(when(&process(30), now), "Mar01");
    }
}
