//! Devices that go from one network namespace to another, and back if need be.
//!
//! The kernel takes addresses and routes from a device that goes, and destroys a virtual one together with the namespace it is
//! in. So what a device had is written down before it goes, and whoever may want it back holds the namespace open.
//!
//! A device travels under a name that nobody else has. The kernel would take the new name along, but with a template it does not
//! say which name that became, and if the name is taken the device is there all the same, under its old one
//! (`do_setlink`, net/core/rtnetlink.c).

#[cfg(test)]
mod tests;

use rustix::io::Errno;

use crate::address::Address;
use crate::link::{self, Link};
use crate::route::Route;
use crate::{DeviceName, Error, Namespace, NewName, Refused};

/// A device to move, and its name where it goes.
#[derive(Clone, Debug)]
pub struct Move {
    device: DeviceName,
    name: NewName,
}

impl Move {
    /// The device `device`, which is to be called `name` (`%d` stands for a number), or as it is.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(device: &str, name: Option<&str>) -> Result<Self, Error> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(device);
        Ok(Self { device: DeviceName::new(device)?, name: NewName::new(name)? })
    }

    /// Its name where it is.
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// Its name where it goes.
    pub fn name(&self) -> &NewName {
        &self.name
    }

    /// Whether that is a template.
    pub fn is_template(&self) -> bool {
        matches!(self.name, NewName::Template(_))
    }
}

/// A device as it was.
#[derive(Debug)]
struct Before {
    link: Link,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// Its name on the way.
    passing: String,
    /// Its number where it went, when that is known.
    there: Option<u32>,
}

/// Devices that were moved. To drop this leaves them where they are.
#[derive(Debug)]
pub struct Moved {
    from: Namespace,
    to: Namespace,
    devices: Vec<Before>,
}

impl Moved {
    /// Nothing yet.
    ///
    /// # Errors
    /// [`Error::SameNamespace`] when there is nowhere to move; [`Error::Namespace`].
    pub fn new(from: Namespace, to: Namespace) -> Result<Self, Error> {
        if from.is(&to)? {
            return Err(Error::SameNamespace);
        }
        Ok(Self { from, to, devices: Vec::new() })
    }

    /// Moves a device with its permanent addresses of global scope, renames it and sets it up.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Loopback`] and, mostly, [`Error::Exists`] when nothing was changed; otherwise
    /// [`Moved::undo`] brings back this one, too.
    pub fn take(&mut self, order: &Move) -> Result<(), Error> {
        let name = order.device.as_str();
        let before = self.look_at(name)?;
        let exists = || Error::Exists { name: order.name.as_str().to_owned() };
        // Before anything is disturbed; what is made meanwhile is noticed below.
        if let NewName::Exact(new) = &order.name
            && self.to.link_named(new.as_str()).map_err(device("look for", new.as_str()))?.is_some()
        {
            return Err(exists());
        }
        let (index, passing) = (before.link.index, before.passing.clone());
        self.devices.push(before);
        let send = link::send_to(index, &self.to, &passing);
        self.from.socket.order(&[send]).map_err(|(_, e)| device("move", name)(e))?;
        let there = self.to.link_named(&passing).map_err(device("find", name))?;
        let there = there.ok_or_else(|| Error::Lost { name: name.to_owned() })?.index;
        let Some(before) = self.devices.last_mut() else { return Ok(()) };
        before.there = Some(there);
        match self.to.socket.order(&[link::rename(there, order.name.as_str())]) {
            Err((_, e)) if e.is(Errno::EXIST) => return Err(exists()),
            other => other.map_err(|(_, e)| device("rename", name)(e))?,
        }
        let new = self.to.link_numbered(there).map_err(device("find", name))?;
        let new = new.ok_or_else(|| Error::Lost { name: name.to_owned() })?.name;
        furnish(&self.to, before.addresses.iter().filter(|a| a.travels()), there, (name, &new), true)
    }

    /// What a device is and has.
    fn look_at(&self, name: &str) -> Result<Before, Error> {
        let link = self.from.link_named(name).map_err(device("look for", name))?;
        // A further name is not the name of a device.
        let link = link.filter(|link| link.name == name);
        let link = link.ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        if link.loopback {
            return Err(Error::Loopback { name: name.to_owned() });
        }
        let addresses =
            self.from.addresses(link.index).map_err(part("list", "addresses".to_owned(), name))?;
        let routes = self.from.routes(link.index).map_err(part("list", "routes".to_owned(), name))?;
        Ok(Before { link, addresses, routes, passing: passing_name(name)?, there: None })
    }

    /// Puts every device back where it was, under its name, with its addresses, its place in a bridge, its state and the
    /// routes through it. Goes on past failures and returns them.
    ///
    /// A device is known there by its number. Whoever has rights in a namespace that others are in already may have exchanged it
    /// for one of his own; nothing that the kernel says of a device could not be made up.
    ///
    /// What the kernel keeps of a device for its namespace is lost, such as queueing disciplines, permanent neighbours, routes
    /// over several devices, and kernel parameters.
    pub fn undo(self) -> Vec<Error> {
        let mut failures = Vec::new();
        for before in self.devices.iter().rev() {
            if let Err(e) = put_back(&self.from, &self.to, before, &mut failures) {
                failures.push(e);
            }
        }
        failures
    }
}

/// Puts a device back. What it then lacks is added to `failures`.
fn put_back(
    from: &Namespace,
    to: &Namespace,
    before: &Before,
    failures: &mut Vec<Error>,
) -> Result<(), Error> {
    let name = before.link.name.as_str();
    let still = from.link_numbered(before.link.index).map_err(device("look for", name))?;
    if still.is_some_and(|link| link.name == name) {
        return Ok(());
    }
    let there = match before.there {
        Some(index) => Some(index),
        None => {
            let named = |text| to.link_named(text).map_err(device("look for", name));
            let passing = named(&before.passing)?;
            passing.map_or_else(|| named(name), |link| Ok(Some(link)))?.map(|link| link.index)
        }
    };
    let there = there.ok_or_else(|| Error::Lost { name: name.to_owned() })?;
    to.socket.order(&[link::send_to(there, from, name)]).map_err(|(_, e)| device("move back", name)(e))?;
    let back = from.link_named(name).map_err(device("find", name))?;
    let index = back.ok_or_else(|| Error::Lost { name: name.to_owned() })?.index;
    if let Some(master) = before.link.master {
        let order = from.socket.order(&[link::set_master(index, master)]);
        failures.extend(order.err().map(|(_, e)| part("restore", "the bridge".to_owned(), name)(e)));
    }
    failures.extend(furnish(from, before.addresses.iter(), index, (name, name), before.link.up).err());
    let routes = from.add_routes(before.routes.clone(), index);
    failures.extend(routes.err().map(part("restore", "routes".to_owned(), name)));
    Ok(())
}

/// Adds addresses to a device and sets it up, all in one message.
fn furnish<'a>(
    namespace: &Namespace,
    addresses: impl Iterator<Item = &'a Address>,
    index: u32,
    renamed: (&str, &str),
    up: bool,
) -> Result<(), Error> {
    let addresses: Vec<_> = addresses.collect();
    let add = addresses.iter().map(|a| a.add(index, renamed));
    let orders: Vec<_> = add.chain(up.then(|| link::set_up(index))).collect();
    namespace.socket.order(&orders).map_err(|(place, e)| match addresses.get(place) {
        Some(address) => part("add", format!("address {address}"), renamed.1)(e),
        None => device("set up", renamed.1)(e),
    })
}

/// A name that no device has.
fn passing_name(name: &str) -> Result<String, Error> {
    let mut random = [0; 6];
    let filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    filled.map_err(|e| device("find a free name for", name)(e.into()))?;
    Ok(random.iter().fold("lm".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

fn device(operation: &'static str, name: &str) -> impl FnOnce(Refused) -> Error {
    let name = name.to_owned();
    move |source| Error::Device { operation, name, source }
}

fn part(operation: &'static str, object: String, name: &str) -> impl FnOnce(Refused) -> Error {
    let name = name.to_owned();
    move |source| Error::Part { operation, object, name, source }
}
