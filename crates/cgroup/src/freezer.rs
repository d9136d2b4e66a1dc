//! Where a group is stopped.

use std::path::{Path, PathBuf};

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
        let says = |dir: &Path, file: &str, words: &[&str]| {
            std::fs::read_to_string(dir.join(file)).is_ok_and(|text| words.contains(&text.trim_end()))
        };
        self.freezer().is_some_and(|dir| {
            says(&dir, "cgroup.freeze", &["1"]) || says(&dir, "freezer.state", &["FROZEN", "FREEZING"])
        })
    }
}
