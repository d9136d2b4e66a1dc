//! Where a group is stopped.

use std::path::PathBuf;

use crate::Cgroup;
use crate::dir::Generation;

impl Cgroup<'_> {
    /// The directory through which other programs stop its members: that of the v1 freezer where there is one, else that of
    /// the v2 hierarchy; `None` where nobody can stop them.
    pub fn freezer(&self) -> Option<PathBuf> {
        let roots = || self.host.hierarchies.iter();
        let v2 = || roots().find(|h| h.root().generation() == Generation::V2);
        let hierarchy = roots().find(|h| h.has("freezer")).or_else(v2)?;
        Some(hierarchy.root().path().join(self.path.as_str()))
    }
}
