//! Where a group is stopped.

use std::path::PathBuf;

use crate::Cgroup;
use crate::dir::Generation;

impl Cgroup<'_> {
    /// The directory whose files [`Cgroup::freeze`] writes to, for other programs that stop the members; `None` where nobody
    /// can. In another hierarchy they could not let go on who was stopped in this one.
    pub fn freezer(&self) -> Option<PathBuf> {
        let mut all = self.host.hierarchies.iter();
        let hierarchy = all.find(|h| h.root().generation() == Generation::V2 || h.has("freezer"))?;
        Some(hierarchy.root().path().join(self.path.as_str()))
    }

    /// Whether its members are stopped, or are about to be. One that is gone is not.
    pub fn is_frozen(&self) -> bool {
        let says =
            |file: &str, words: &[&str]| self.read(file).is_some_and(|text| words.contains(&text.trim()));
        says("cgroup.freeze", &["1"]) || says("freezer.state", &["FROZEN", "FREEZING"])
    }
}
