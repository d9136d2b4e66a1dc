//! Which class of resctrl a container is in.

use std::os::fd::OwnedFd;

use loment_runtime::Plan;
use loment_runtime::resctrl::{Error, Membership, Resctrl};
use loment_runtime::state::{Id, Record};
use oci_spec::runtime::Spec;

/// A container's class, in the file system that it is in.
#[derive(Debug)]
pub(crate) struct Class {
    resctrl: Resctrl,
    pub(crate) member: Membership,
}

impl Class {
    /// Makes or finds what a new container asks for; `None` when it asks for nothing.
    pub(crate) fn make(plan: &Plan, id: &Id) -> Result<Option<Self>, Error> {
        let Some(rdt) = &plan.rdt else { return Ok(None) };
        let resctrl = Resctrl::find()?;
        let member = resctrl.make(rdt, id.as_str())?;
        Ok(Some(Self { resctrl, member }))
    }

    /// That of a container that exists; `None` when it has none, or none any more because the file system was unmounted.
    pub(crate) fn recorded(record: &Record) -> Result<Option<Self>, Error> {
        let Some(member) = record.class.clone() else { return Ok(None) };
        match Resctrl::find() {
            Ok(resctrl) => Ok(Some(Self { resctrl, member })),
            Err(Error::NotMounted | Error::Unsupported) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What a process of the container's opens itself to: see [`Resctrl::tasks`].
    pub(crate) fn tasks(class: Option<&Self>) -> Result<Vec<OwnedFd>, Error> {
        class.map_or_else(|| Ok(Vec::new()), |c| c.resctrl.tasks(&c.member))
    }

    /// Gives the class other limits.
    pub(crate) fn update(
        &self,
        l3: Option<&str>,
        bandwidth: Option<&str>,
    ) -> Result<(), loment_runtime::Error> {
        self.resctrl.update(&self.member, l3, bandwidth)
    }

    /// Removes what was made for the container.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.resctrl.remove(&self.member)
    }

    /// Puts everything back for a container that is not made after all.
    pub(crate) fn undo(&self) {
        self.resctrl.undo(&self.member);
    }
}

/// Removes the class of a container whose creator was killed before it wrote down that there is one.
pub(crate) fn abandon(spec: &Spec, id: &Id) {
    let asked = spec.linux().as_ref().and_then(|l| l.intel_rdt().as_ref());
    let rdt = asked.and_then(|asked| loment_runtime::resctrl::Rdt::new(asked).ok());
    if let (Some(rdt), Ok(resctrl)) = (rdt, Resctrl::find()) {
        resctrl.abandon(&rdt, id.as_str());
    }
}
