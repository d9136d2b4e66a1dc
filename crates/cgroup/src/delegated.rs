//! Groups that were given to an ordinary user: cgroups(7), "Delegating a hierarchy to a less privileged user".

use crate::membership::Memberships;
use crate::{CgroupPath, Error, Host, Version};

/// A group of the v2 hierarchy below which the caller may make others.
#[derive(Clone, Debug)]
pub struct Delegated {
    path: CgroupPath,
    controllers: Vec<String>,
}

impl Delegated {
    /// Its name.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Whether groups below it can have limits of that controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

impl Host {
    /// The outermost of the groups around this process that were given to its user: what is made there has nothing to do with
    /// the session or the service that this process belongs to.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delegated(&self) -> Result<Option<Delegated>, Error> {
        let Some(own) = self.own_group()? else { return Ok(None) };
        let groups: Vec<&str> = own.ancestors().collect();
        let given = groups.iter().rev().take_while(|name| self.is_given(name)).last();
        given.map(|name| self.delegated_at(name)).transpose()
    }

    /// The group of this process by which session managers keep track of it; `None` when that is the root.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn own_group(&self) -> Result<Option<CgroupPath>, Error> {
        let own = Memberships::of(std::process::id().cast_signed())?;
        let named = own.of_v1("systemd").filter(|_| self.version() != Version::V2);
        Ok(named.or(own.of_v2()).and_then(|path| CgroupPath::new(path).ok()))
    }

    /// That group, if it was given to this process's user.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotGiven`].
    pub fn delegated_at(&self, path: &str) -> Result<Delegated, Error> {
        self.given(path, false)
    }

    /// The same of a group whose members are about to be moved into one below it.
    ///
    /// # Errors
    /// As [`Host::delegated_at`].
    pub fn delegated_once_empty(&self, path: &str) -> Result<Delegated, Error> {
        self.given(path, true)
    }

    fn given(&self, path: &str, emptied: bool) -> Result<Delegated, Error> {
        let path = CgroupPath::new(path)?;
        if self.version() != Version::V2 || !self.is_given(path.as_str()) {
            return Err(Error::NotGiven { path: path.to_string() });
        }
        let read = |file: &str| self.cgroup(path.clone()).read(file).unwrap_or_default();
        let (there, passed) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
        // Only a group without members of its own passes further ones on.
        let is_empty = emptied || read("cgroup.procs").trim().is_empty();
        let passed = |c: &&str| is_empty || passed.split_whitespace().any(|p| p == *c);
        let controllers = there.split_whitespace().filter(passed).map(str::to_owned).collect();
        Ok(Delegated { path, controllers })
    }

    fn is_given(&self, path: &str) -> bool {
        let group = self.hierarchies.first().and_then(|h| h.root().open_dir(path).ok());
        self.version() == Version::V2
            && group.is_some_and(|group| group.is_writable() && group.may_write("cgroup.procs"))
    }
}
