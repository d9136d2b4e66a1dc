//! systemd's way: a container's group is a scope that systemd makes, moves the first process into, limits, and stops.
//!
//! Where systemd runs, the groups are its own: on v2 it takes controllers away from groups below the root that it has not
//! made. A scope with `Delegate=yes` it leaves alone. Nothing here is touched unless a [`Scope`] is asked for.

mod address;
mod bus;
mod name;
mod properties;
mod wire;

pub use address::Address;
pub use name::ScopeName;
pub use properties::Property;

use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::LinuxResources;

use crate::{CgroupPath, Error, Version};
use bus::{Bus, CallError};
use wire::Value;

/// Where the system's bus is, and systemd's own socket.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SYSTEM_PRIVATE: &str = "/run/systemd/private";
/// Is there when systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// How often, and at which distance, a scope is started whose name is still taken.
const START_TRIES: u32 = 100;
const START_PAUSE: Duration = Duration::from_millis(20);

/// systemd as the system's manager, or as a user's.
#[derive(Clone, Debug)]
pub struct Manager {
    addresses: Vec<Address>,
    user: bool,
}

impl Manager {
    /// The system's.
    pub fn system() -> Self {
        Self { addresses: vec![Address::bus(SYSTEM_BUS), Address::private(SYSTEM_PRIVATE)], user: false }
    }

    /// A user's, at the first of these addresses that answers.
    pub fn user(addresses: Vec<Address>) -> Self {
        Self { addresses, user: true }
    }

    /// Whether systemd is process 1 and there is something to speak to it through. Where it is not, this is one look at a
    /// directory.
    pub fn is_running() -> bool {
        Path::new(BOOTED).is_dir()
            && [SYSTEM_BUS, SYSTEM_PRIVATE].iter().any(|socket| Path::new(socket).exists())
    }

    /// Whether it has begun to end all there is; not where it is not there.
    pub fn shuts_down(&self) -> bool {
        // The bus ends, too, perhaps in the midst of an answer: systemd itself is asked first, which answers root.
        let ask = |address| Bus::connect(std::slice::from_ref(address)).ok()?.property("SystemState").ok();
        Self::is_running()
            && self.addresses.iter().rev().find_map(ask).is_some_and(|state| state == "stopping")
    }

    /// The slice for containers that name none: what runc takes.
    pub fn default_slice(&self) -> &'static str {
        if self.user { "user.slice" } else { "system.slice" }
    }

    /// The scope of that name, to be started. Of a user's manager this asks where its groups are; the system's has them at
    /// the root.
    ///
    /// # Errors
    /// [`Error::Bus`] when systemd does not answer, [`Error::Path`].
    pub fn scope(&self, name: &ScopeName) -> Result<Scope, Error> {
        let root = if self.user { self.root()? } else { String::new() };
        self.scope_below(name, &root)
    }

    /// The group below which the groups of a user's manager are.
    ///
    /// # Errors
    /// [`Error::Bus`], [`Error::Unit`].
    pub fn root(&self) -> Result<String, Error> {
        self.connect()?.property("ControlGroup").map_err(|e| failed("find the groups of", "systemd", e))
    }

    /// Makes a slice, with limits for all that is in it, or changes those of one that is there.
    ///
    /// # Errors
    /// What systemd says.
    pub fn limit_slice(
        &self,
        slice: &str,
        resources: &LinuxResources,
        version: Version,
    ) -> Result<(), Error> {
        let limits: Vec<_> = properties::limits(resources, version)?.iter().map(Property::encoded).collect();
        let mut bus = self.connect()?;
        let body = vec![
            Value::text(slice),
            Value::text("fail"),
            Value::Array("(sv)".into(), limits.clone()),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        match bus.call("StartTransientUnit", body) {
            Err(CallError::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                let body = vec![Value::text(slice), Value::Bool(true), Value::Array("(sv)".into(), limits)];
                let set = bus.call("SetUnitProperties", body);
                set.map(drop).map_err(|e| failed("change the limits of", slice, e))
            }
            answer => finish(&mut bus, slice, "start", answer),
        }
    }

    /// Removes a slice with all that is in it; one that is gone is no error.
    ///
    /// # Errors
    /// What systemd says.
    pub fn stop_slice(&self, slice: &str) -> Result<(), Error> {
        stop(&mut self.connect()?, slice)
    }

    /// As [`Manager::scope`], where the manager's groups are known to be below `root` (empty for the system's).
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn scope_below(&self, name: &ScopeName, root: &str) -> Result<Scope, Error> {
        let path = name.path_below(root)?;
        Ok(Scope {
            manager: self.clone(),
            unit: name.unit().to_owned(),
            slice: name.slice().to_owned(),
            container: path.clone(),
            path,
            properties: Vec::new(),
            description: String::new(),
            is_new: true,
        })
    }

    /// The scope of a container that has one: `unit` and `path` are what [`Scope::unit`] and [`crate::Cgroup::path`] were.
    ///
    /// # Errors
    /// [`Error::Path`] when that path is not of that unit.
    pub fn existing(&self, unit: &str, path: &CgroupPath) -> Result<Scope, Error> {
        let own = path.ancestors().find(|a| a.rsplit('/').next() == Some(unit));
        let reason = "it is not the group of its unit";
        let own = own.ok_or_else(|| Error::Path { path: path.to_string(), reason })?;
        Ok(Scope {
            manager: self.clone(),
            unit: unit.to_owned(),
            slice: String::new(),
            path: CgroupPath::new(own)?,
            container: path.clone(),
            properties: Vec::new(),
            description: String::new(),
            is_new: false,
        })
    }

    fn connect(&self) -> Result<Bus, Error> {
        Bus::connect(&self.addresses).map_err(|e| {
            let places: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
            let source = match e {
                CallError::Io(source) => source,
                refused => std::io::Error::other(refused.to_string()),
            };
            Error::Bus { addresses: places.join(" and "), source }
        })
    }
}

/// A scope: one container's unit.
#[derive(Clone, Debug)]
pub struct Scope {
    manager: Manager,
    unit: String,
    slice: String,
    path: CgroupPath,
    /// The container's, which may be one in the scope's.
    container: CgroupPath,
    properties: Vec<Property>,
    description: String,
    is_new: bool,
}

impl Scope {
    /// Makes the container's group one of that name in the scope's.
    ///
    /// # Errors
    /// [`Error::Path`] unless it is one name.
    pub fn with_subgroup(mut self, name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.contains('/') {
            return Err(Error::Path { path: name.to_owned(), reason: "a group in a scope is one name" });
        }
        self.container = self.path.join(name)?;
        Ok(self)
    }

    /// Adds properties; they override ours.
    pub fn with_properties(mut self, properties: Vec<Property>) -> Self {
        self.properties = properties;
        self
    }

    /// How long its processes have to end when it is stopped.
    pub fn with_stop_timeout(mut self, seconds: u32) -> Self {
        self.properties.push(Property::new("TimeoutStopUSec", Value::U64(u64::from(seconds) * 1_000_000)));
        self
    }

    /// What `systemctl status` calls it.
    pub fn with_description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// The unit's name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it is to be started with the container's process.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The scope's group.
    pub(crate) fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The container's.
    pub fn container_path(&self) -> &CgroupPath {
        &self.container
    }

    /// Starts the scope with that process in it.
    pub(crate) fn start(&self, pid: i32, resources: &LinuxResources, version: Version) -> Result<(), Error> {
        let mut properties = self.own_properties(pid);
        properties.extend(properties::limits(resources, version)?);
        for property in &self.properties {
            properties.retain(|p| p.name != property.name);
            properties.push(property.clone());
        }
        let encoded = properties.iter().map(Property::encoded).collect();
        let body = vec![
            Value::text(&self.unit),
            Value::text("fail"),
            Value::Array("(sv)".into(), encoded),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let mut bus = self.manager.connect()?;
        let mut answer = bus.call("StartTransientUnit", body.clone());
        for _ in 0..START_TRIES {
            match &answer {
                // One of that name has failed, which systemd keeps for who wants to know why, or is just ending.
                Err(CallError::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                    let _ = bus.call("ResetFailedUnit", vec![Value::text(&self.unit)]);
                }
                _ => break,
            }
            answer = bus.call("StartTransientUnit", body.clone());
            if answer.is_err() {
                std::thread::sleep(START_PAUSE);
            }
        }
        finish(&mut bus, &self.unit, "start", answer)
    }

    /// Everything about it that is not a limit.
    fn own_properties(&self, pid: i32) -> Vec<Property> {
        let yes = |name| Property::new(name, Value::Bool(true));
        let mut out = vec![
            Property::new("Description", Value::text(&self.description)),
            Property::new("PIDs", Value::Array("u".into(), vec![Value::U32(pid.cast_unsigned())])),
            yes("Delegate"),
            // Ordered after basic.target and stopped with it, it could not be started early or live late.
            Property::new("DefaultDependencies", Value::Bool(false)),
            // Forget it when it has ended, however it has.
            Property::new("CollectMode", Value::text("inactive-or-failed")),
        ];
        if self.slice != "-.slice" {
            out.push(Property::new("Slice", Value::text(&self.slice)));
        }
        out.extend(["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"].map(yes));
        out
    }

    /// Tells systemd of other limits.
    pub(crate) fn update(&self, resources: &LinuxResources, version: Version) -> Result<(), Error> {
        let limits = properties::limits(resources, version)?;
        if limits.is_empty() {
            return Ok(());
        }
        let encoded = limits.iter().map(Property::encoded).collect();
        // Not beyond the next boot, which the scope does not live to see.
        let body = vec![Value::text(&self.unit), Value::Bool(true), Value::Array("(sv)".into(), encoded)];
        let set = self.manager.connect()?.call("SetUnitProperties", body);
        set.map(drop).map_err(|e| failed("change the limits of", &self.unit, e))
    }

    /// Stops it; one that is gone is no error.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        stop(&mut self.manager.connect()?, &self.unit)
    }
}

fn stop(bus: &mut Bus, unit: &str) -> Result<(), Error> {
    let stopped = match bus.call("StopUnit", vec![Value::text(unit), Value::text("replace")]) {
        Err(CallError::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => return Ok(()),
        answer => finish(bus, unit, "stop", answer),
    };
    // Mostly it has not failed, and then there is nothing to forget.
    let _ = bus.call("ResetFailedUnit", vec![Value::text(unit)]);
    stopped
}

/// Waits for the job that a method has returned.
fn finish(
    bus: &mut Bus,
    unit: &str,
    operation: &'static str,
    answer: Result<Vec<Value>, CallError>,
) -> Result<(), Error> {
    let fail = |e| failed(operation, unit, e);
    let answer = answer.map_err(fail)?;
    let job = answer.first().and_then(Value::as_str).unwrap_or_default();
    match bus.wait_for_job(job).map_err(fail)?.as_str() {
        "done" => Ok(()),
        result => Err(Error::Job { operation, unit: unit.to_owned(), result: result.to_owned() }),
    }
}

fn failed(operation: &'static str, unit: &str, e: CallError) -> Error {
    let source = match e {
        CallError::Io(source) => source,
        refused => std::io::Error::other(refused.to_string()),
    };
    Error::Unit { operation, unit: unit.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_known_again_by_its_unit_and_path() {
        let existing = |unit, path| Manager::system().existing(unit, &CgroupPath::new(path).unwrap());
        let scope = existing("c-1.scope", "a.slice/c-1.scope/container").unwrap();
        assert_eq!(scope.path().as_str(), "a.slice/c-1.scope");
        assert_eq!(scope.container_path().as_str(), "a.slice/c-1.scope/container");
        let scope = existing("c-1.scope", "a.slice/c-1.scope").unwrap();
        assert_eq!(scope.container_path(), scope.path());
        assert!(existing("c-1.scope", "a.slice/c-2.scope").is_err());
    }

    #[test]
    fn a_group_in_a_scope_cannot_climb() {
        let name = ScopeName::new("a.slice", "c", "1").unwrap();
        let scope = || Manager::system().scope_below(&name, "").unwrap();
        for bad in ["..", "a/b", "", "."] {
            assert!(scope().with_subgroup(bad).is_err(), "{bad:?}");
        }
        assert!(scope().with_subgroup("container").is_ok());
    }

    #[test]
    fn where_nobody_listens_the_error_says_where_systemd_was_looked_for() {
        let manager = Manager::user(vec![Address::bus("/nonexistent/bus")]);
        let error = manager.scope(&ScopeName::new("a.slice", "c", "1").unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/bus"), "{error}");
    }
}
