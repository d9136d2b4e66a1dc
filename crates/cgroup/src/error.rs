use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong with a control group.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("no cgroup hierarchy is mounted under {}: mount cgroup2 there", path.display())]
    NotMounted { path: PathBuf },
    #[error("invalid cgroup path {path:?}: {reason}")]
    Path { path: String, reason: &'static str },
    #[error("cgroup {path} already exists")]
    Exists { path: String },
    #[error("the {controller} cgroup controller is not available, but {wanted} was asked for")]
    NoController { controller: &'static str, wanted: String },
    #[error("the {controller} cgroup controller is not available, but {wanted} was asked for")]
    NotAvailable { controller: String, wanted: String },
    #[error(
        "the {controller} cgroup controller is not passed on to {path}, but {wanted} was asked for: have it delegated, for users by Delegate= of user@.service"
    )]
    NotDelegated { controller: &'static str, wanted: &'static str, path: String },
    #[error("cgroup {path} was not given to this user: no group can be made below it")]
    NotGiven { path: String },
    #[error("invalid value {value} for {name}")]
    Value { name: &'static str, value: String },
    #[error("write {value:?} to cgroup file {path}")]
    Write { path: String, value: String, source: io::Error },
    #[error("{operation} cgroup {path}")]
    Io { operation: &'static str, path: String, source: io::Error },
    #[error("invalid name {name:?} for a unit of systemd: {reason}")]
    UnitName { name: String, reason: &'static str },
    #[error("invalid value {value:?} for systemd's property {name}")]
    Property { name: String, value: String },
    #[error("connect to systemd at {addresses}: see that it runs, or let cgroups be made without it")]
    Bus { addresses: String, source: io::Error },
    #[error("{operation} {unit} through systemd")]
    Unit { operation: &'static str, unit: String, source: io::Error },
    #[error("{operation} {unit} through systemd: its job ended as {result}")]
    Job { operation: &'static str, unit: String, result: String },
    #[error("systemd put process {pid} into {found:?} instead of cgroup {path}")]
    Misplaced { pid: i32, found: String, path: String },
    #[error("{what} cannot be set: remove it from the configuration")]
    Unsupported { what: &'static str },
}
