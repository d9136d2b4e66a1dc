//! What is different in one image's tree from another's.
//!
//! Both are looked at as overlayfs shows them, and only where their layers differ: a directory that the same layers of both have
//! is not read. No tree is put together; what is held is the changes, and the directories on the way to the current one.

use std::collections::{BTreeMap, HashSet};

use crate::error::Error;
use crate::image::{ImageRecord, visible};
use crate::layer::Layer;
use crate::listing::{Item, Place};
use crate::store::Store;
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
        let mut walk = Walk { trees: Vec::new(), seen: HashSet::new(), by_looks: base.is_some() };
        let (old, new) = (walk.stack(&old)?, walk.stack(&new)?);
        walk.compare(&old, &new)
    }

    /// What a container has changed in its image's tree; of one that was not made by [`Store::create_rootfs`] that is not known.
    ///
    /// # Errors
    /// As [`Store::changes`].
    pub fn changes_of_container(&self, id: &str) -> Result<Option<Vec<Change>>, Error> {
        let Some(rootfs) = self.rootfs(id)? else { return Ok(None) };
        let image = self.image(&rootfs.image)?;
        let image = image.ok_or_else(|| Error::ImageNotKnown { name: rootfs.image.hex().to_owned() })?;
        let layers = self.layers_of(&image)?;
        let mut walk = Walk { trees: Vec::new(), seen: HashSet::new(), by_looks: false };
        let old = walk.stack(&layers)?;
        walk.trees.push(Tree::of_changes(rootfs.upper)?);
        let top = walk.trees.len() - 1;
        let new = [(top, walk.trees[top].root()?)].into_iter().chain(old.iter().copied()).collect();
        walk.compare(&old, &new).map(Some)
    }
}

/// The layers that have a directory, top first: their positions in [`Walk::trees`], and where it is in them.
type Stack = Vec<(usize, Place)>;

struct Walk<'l> {
    trees: Vec<Tree<'l>>,
    /// Directories of file system images that were read: damage could lead to one again and again.
    seen: HashSet<(usize, u64)>,
    /// Whether what looks the same is the same.
    by_looks: bool,
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

/// What one side shows under a name.
struct Shown {
    item: Item,
    /// Whose it is.
    tree: usize,
    /// Of a directory, all layers that have it.
    merged: Stack,
    /// Layers below have nothing more to show there.
    closed: bool,
}

impl<'l> Walk<'l> {
    fn stack(&mut self, layers: &'l [Layer]) -> Result<Stack, Error> {
        let mut stack = Vec::new();
        for layer in visible(layers) {
            let known = self
                .trees
                .iter()
                .position(|known| known.layer().is_some_and(|known| known.diff_id() == layer.diff_id()));
            let tree = match known {
                Some(tree) => tree,
                None => {
                    self.trees.push(Tree::of(layer)?);
                    self.trees.len() - 1
                }
            };
            stack.push((tree, self.trees[tree].root()?));
        }
        Ok(stack)
    }

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
        let mut read = BTreeMap::new();
        for &(tree, place) in old.iter().chain(new) {
            if read.contains_key(&tree) {
                continue;
            }
            if let Some(node) = place
                && !self.seen.insert((tree, node.number()))
            {
                let problem = "a directory of its image is in two places";
                let layer = self.trees[tree].layer().expect("invariant: nodes are those of a layer's image");
                return Err(Error::CorruptLayer { layer: layer.diff_id().clone(), problem });
            }
            read.insert(tree, self.trees[tree].list(path, place)?);
        }
        let mut before = self.merged(path, old, &read)?;
        let mut steps = BTreeMap::new();
        for (name, now) in self.merged(path, new, &read)? {
            let path = joined(path, name);
            let step = match before.remove(name) {
                None => Some(Step::Show(ChangeKind::Added, path, now.merged)),
                Some(was) => self.step(path, was, now)?,
            };
            steps.extend(step.map(|step| (name, step)));
        }
        for name in before.into_keys() {
            steps.insert(name, Step::Show(ChangeKind::Deleted, joined(path, name), Stack::new()));
        }
        Ok(steps.into_values().rev().collect())
    }

    /// What there is to do where both sides have something.
    fn step(&self, path: Vec<u8>, was: Shown, now: Shown) -> Result<Option<Step>, Error> {
        if was.tree == now.tree && same(&was.merged, &now.merged) {
            return Ok(None);
        }
        if was.item.is_dir() && now.item.is_dir() {
            let differs = !was.item.is_alike(&now.item);
            return Ok(Some(Step::Both { path, old: was.merged, new: now.merged, differs }));
        }
        let same = self.by_looks && was.item.is_same(&now.item) && {
            let further = |shown: &Shown| self.trees[shown.tree].further(&path, shown.item.kind);
            further(&was)? == further(&now)?
        };
        Ok((!same).then_some(Step::Show(ChangeKind::Changed, path, now.merged)))
    }

    /// What a directory shows, of what its layers have there.
    fn merged<'n>(
        &self,
        path: &[u8],
        stack: &Stack,
        read: &'n BTreeMap<usize, Vec<(Vec<u8>, Item)>>,
    ) -> Result<BTreeMap<&'n [u8], Shown>, Error> {
        let mut all: BTreeMap<&[u8], Shown> = BTreeMap::new();
        for &(tree, _) in stack {
            for (name, item) in read.get(&tree).into_iter().flatten() {
                let open = all.get(name.as_slice()).is_none_or(|shown| !shown.closed);
                let closes = open && {
                    // Others have nothing below them.
                    !item.is_dir() || self.trees[tree].is_opaque(&joined(path, name), item.place)?
                };
                match all.get_mut(name.as_slice()) {
                    _ if !open => {}
                    None => {
                        let merged = if item.is_dir() { vec![(tree, item.place)] } else { Stack::new() };
                        all.insert(name, Shown { item: *item, tree, merged, closed: closes });
                    }
                    Some(shown) => {
                        shown.closed = closes;
                        if item.is_dir() {
                            // One that is only implied looks as the next one below does.
                            let implied = self.trees[shown.tree].only_implies(&joined(path, name));
                            shown.merged.push((tree, item.place));
                            if implied {
                                (shown.item, shown.tree) = (*item, tree);
                            }
                        }
                    }
                }
            }
        }
        all.retain(|_, shown| !shown.item.is_whiteout());
        Ok(all)
    }
}

/// Whether both are of the same layers; at one path they are the same directories, then.
fn same(a: &Stack, b: &Stack) -> bool {
    a.iter().map(|(tree, _)| tree).eq(b.iter().map(|(tree, _)| tree))
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}
