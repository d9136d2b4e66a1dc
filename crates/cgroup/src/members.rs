//! Who is in a group.

use crate::dir::Dir;
use crate::{Cgroup, Error};

impl Cgroup<'_> {
    /// The pids of the members, those of groups below it included, as this process's pid namespace shows them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        if let Some(hierarchy) = self.host.hierarchies.first() {
            collect(&hierarchy.root().open_dir(self.path.as_str())?, &mut pids)?;
        }
        Ok(pids)
    }
}

fn collect(group: &Dir, pids: &mut Vec<i32>) -> Result<(), Error> {
    match group.read("cgroup.procs") {
        Ok(text) => pids.extend(text.lines().filter_map(|l| l.parse().ok()).filter(|&p: &i32| p > 0)),
        // Of a v2 group whose members are threads of one above it, only that one says which processes they belong to.
        Err(Error::Io { source, .. })
            if source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {}
        Err(e) => return Err(e),
    }
    for name in group.subdirectories()? {
        match group.open_dir(&name) {
            Ok(below) => collect(&below, pids)?,
            // Removed at this moment: nobody was in it.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
