//! What is different in one image's tree from another's.
//!
//! Both are looked at as overlayfs shows them, and only where their layers differ: a directory that the same layers of both have
//! is not read. No tree is put together; what is held is the changes, and the directories on the way to the current one.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::image::ImageRecord;
use crate::merged::{Shown, Stack, Trees, joined};
use crate::owners::Owners;
use crate::store::Store;
use crate::unpack::Rights;
use crate::view::Tree;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another one, looks different, or is a directory in which something changed.
    Changed,
    /// It is gone, with all below it.
    Deleted,
}

/// One path at which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// From the root, with a leading slash; any bytes but NUL.
    pub path: Vec<u8>,
}

impl Store {
    /// What an image changes in what `base` has; without a base, what its topmost layer changes in those below. Directories before
    /// what is in them, names in the order of their bytes.
    ///
    /// Files of different layers are taken for the same when owner, mode, time and length are, unless there is no base: what the
    /// topmost layer has, it changes.
    ///
    /// # Errors
    /// [`Error::LayerMissing`], [`Error::CorruptLayer`], [`Error::Io`].
    pub fn changes(&self, base: Option<&ImageRecord>, image: &ImageRecord) -> Result<Vec<Change>, Error> {
        let new = self.layers_of(image)?;
        let old = match base {
            Some(base) => self.layers_of(base)?,
            None => new[..new.len().saturating_sub(1)].to_vec(),
        };
        let mut walk = Walk {
            trees: Trees::default(),
            by_looks: base.is_some(),
            copied: None,
            owners: None,
            rights: Rights::All,
        };
        let (old, new) = (walk.trees.stack(&old)?, walk.trees.stack(&new)?);
        walk.compare(&old, &new)
    }

    /// What a container has changed in its image's tree; of one that was not made by [`Store::create_rootfs`] that is not known.
    ///
    /// Files of a [whole](crate::Rootfs::whole) one are taken for those of its image when owner, mode, time and length are the same.
    ///
    /// # Errors
    /// As [`Store::changes`].
    pub fn changes_of_container(&self, id: &str) -> Result<Option<Vec<Change>>, Error> {
        let Some(rootfs) = self.rootfs(id)? else { return Ok(None) };
        let image = self.image(&rootfs.image)?;
        let image = image.ok_or_else(|| Error::ImageNotKnown { name: rootfs.image.hex().to_owned() })?;
        let layers = self.layers_of(&image)?;
        let rights = if rootfs.whole { Rights::own() } else { Rights::All };
        let copied = if rootfs.whole { self.copied_at(id)? } else { None };
        let mut trees = Trees::default();
        let mut old = trees.stack(&layers)?;
        let mut new = vec![trees.add(Tree::of_changes(rootfs.upper)?)?];
        let owners = rootfs.owners.map(|owners| (new[0].0, owners));
        let mut walk = Walk { trees, by_looks: rootfs.whole, copied, owners, rights };
        match rootfs.whole {
            true => old.push(walk.trees.add(Tree::of_changes(rootfs.skeleton)?)?),
            false => new.extend(old.iter().copied()),
        }
        walk.compare(&old, &new).map(Some)
    }
}

struct Walk<'l> {
    trees: Trees<'l>,
    /// Whether what looks the same is the same.
    by_looks: bool,
    /// When the new tree was made as a copy of the old one: what is older is what it was, whatever became of its times and attributes
    /// on that file system.
    copied: Option<(i64, u32)>,
    /// The tree of what a container has changed, and who has that, if others than in layers.
    owners: Option<(usize, Owners)>,
    /// Those of who made the new tree a copy of the old one.
    rights: Rights,
}

/// What is left to do.
enum Step {
    /// Show what happened to a path, and what is in it if it is a directory of the new tree.
    Show(ChangeKind, Vec<u8>, Stack),
    /// A directory that both have, and whether it looks different itself.
    Both { path: Vec<u8>, old: Stack, new: Stack, differs: bool },
    /// All below the directory whose change is at this position has been shown.
    Leave { position: usize, differs: bool },
}

impl Walk<'_> {
    fn compare(&mut self, old: &Stack, new: &Stack) -> Result<Vec<Change>, Error> {
        let mut changes: Vec<Change> = Vec::new();
        let mut left = if same(old, new) { Vec::new() } else { self.below(b"", old, new)? };
        while let Some(step) = left.pop() {
            match step {
                Step::Show(kind, path, new) => {
                    changes.push(Change { kind, path: absolute(&path) });
                    left.extend(self.below(&path, &Stack::new(), &new)?);
                }
                Step::Both { path, old, new, differs } => {
                    changes.push(Change { kind: ChangeKind::Changed, path: absolute(&path) });
                    left.push(Step::Leave { position: changes.len(), differs });
                    left.extend(self.below(&path, &old, &new)?);
                }
                Step::Leave { position, differs } => {
                    if changes.len() == position && !differs {
                        changes.pop();
                    }
                }
            }
        }
        Ok(changes)
    }

    /// The steps for what is in a directory, the first of them last.
    fn below(&mut self, path: &[u8], old: &Stack, new: &Stack) -> Result<Vec<Step>, Error> {
        let lists = self.trees.lists(path, old.iter().chain(new))?;
        let mut before = self.trees.merged(path, old, &lists)?;
        let mut steps = BTreeMap::new();
        for (name, now) in self.trees.merged(path, new, &lists)? {
            let path = joined(path, name);
            let step = match before.remove(name) {
                None => Some(Step::Show(ChangeKind::Added, path, now.merged)),
                Some(was) => self.step(path, was, now)?,
            };
            steps.extend(step.map(|step| (name, step)));
        }
        before.retain(|_, was| self.rights.makes(was.item.kind));
        for name in before.into_keys() {
            steps.insert(name, Step::Show(ChangeKind::Deleted, joined(path, name), Stack::new()));
        }
        Ok(steps.into_values().rev().collect())
    }

    /// Who has the files of a tree, if others than in layers.
    fn owners_of(&self, shown: &Shown) -> Option<&Owners> {
        self.owners.as_ref().filter(|(tree, _)| *tree == shown.tree).map(|(_, owners)| owners)
    }

    /// What there is to do where both sides have something.
    fn step(&self, path: Vec<u8>, was: Shown, now: Shown) -> Result<Option<Step>, Error> {
        if was.tree == now.tree && same(&was.merged, &now.merged) {
            return Ok(None);
        }
        let items = [&was, &now].map(|shown| match (self.rights.has_one_id(), self.owners_of(shown)) {
            (true, _) => shown.item.with_owner((0, 0)),
            (false, Some(owners)) => {
                let (uid, gid) = shown.item.owner;
                shown.item.with_owner(owners.inside(uid, gid))
            }
            (false, None) => shown.item,
        });
        let is_older = items[1].is_older(self.copied);
        let has_same = || -> Result<bool, Error> {
            let further = |shown: &Shown| {
                let further = self.trees.get(shown.tree).further(&path, &shown.item)?;
                Ok::<_, Error>(match &self.owners {
                    Some((tree, owners)) if *tree != shown.tree => further.with_owners(owners),
                    _ => further,
                })
            };
            Ok(further(&was)? == further(&now)?)
        };
        if was.item.is_dir() && now.item.is_dir() {
            // Where files are not compared, the attributes of directories are not, either.
            let compares = self.copied.is_some() && !is_older;
            let differs = !items[0].is_alike(&items[1]) || compares && !has_same()?;
            return Ok(Some(Step::Both { path, old: was.merged, new: now.merged, differs }));
        }
        let same = self.by_looks
            && items[0].is_as_long(&items[1])
            && (is_older || items[0].mtime == items[1].mtime && has_same()?);
        Ok((!same).then_some(Step::Show(ChangeKind::Changed, path, now.merged)))
    }
}

/// Whether both are of the same layers; at one path they are the same directories, then.
fn same(a: &Stack, b: &Stack) -> bool {
    a.iter().map(|(tree, _)| tree).eq(b.iter().map(|(tree, _)| tree))
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}
