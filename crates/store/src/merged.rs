//! Several trees as overlayfs shows them together: the layers of an image, one over the other.

use std::collections::{BTreeMap, HashSet};

use crate::error::Error;
use crate::image::visible;
use crate::layer::Layer;
use crate::listing::{Item, Place};
use crate::view::Tree;

/// The trees that have a directory, top first: their positions in [`Trees`], and where it is in them.
pub(crate) type Stack = Vec<(usize, Place)>;

/// Trees that directories are looked up in.
#[derive(Default)]
pub(crate) struct Trees<'l> {
    all: Vec<Tree<'l>>,
    /// Directories of file system images that were read: damage could lead to one again and again.
    seen: HashSet<(usize, u64)>,
}

/// What is in a directory, of each tree that has it.
pub(crate) type Lists = BTreeMap<usize, Vec<(Vec<u8>, Item)>>;

/// What stands under a name.
pub(crate) struct Shown {
    pub(crate) item: Item,
    /// Whose it is.
    pub(crate) tree: usize,
    /// Of a directory, all layers that have it.
    pub(crate) merged: Stack,
    /// Layers below have nothing more to show there.
    closed: bool,
}

impl<'l> Trees<'l> {
    pub(crate) fn get(&self, tree: usize) -> &Tree<'l> {
        &self.all[tree]
    }

    /// The root of one more tree.
    pub(crate) fn add(&mut self, tree: Tree<'l>) -> Result<(usize, Place), Error> {
        let root = tree.root()?;
        self.all.push(tree);
        Ok((self.all.len() - 1, root))
    }

    /// The root of an image of these layers, the lowest first.
    pub(crate) fn stack(&mut self, layers: &'l [Layer]) -> Result<Stack, Error> {
        let mut stack = Vec::new();
        for layer in visible(layers) {
            let known = self
                .all
                .iter()
                .position(|known| known.layer().is_some_and(|known| known.diff_id() == layer.diff_id()));
            let tree = match known {
                Some(tree) => tree,
                None => {
                    self.all.push(Tree::of(layer)?);
                    self.all.len() - 1
                }
            };
            stack.push((tree, self.all[tree].root()?));
        }
        Ok(stack)
    }

    /// Lists the directory at `path`, where all of these trees have one.
    pub(crate) fn lists<'s>(
        &mut self,
        path: &[u8],
        places: impl Iterator<Item = &'s (usize, Place)>,
    ) -> Result<Lists, Error> {
        let mut lists = Lists::new();
        for &(tree, place) in places {
            if lists.contains_key(&tree) {
                continue;
            }
            if let Some(node) = place
                && !self.seen.insert((tree, node.number()))
            {
                let problem = "a directory of its image is in two places";
                let layer = self.all[tree].layer().expect("invariant: nodes are those of a layer's image");
                return Err(Error::CorruptLayer { layer: layer.diff_id().clone(), problem });
            }
            lists.insert(tree, self.all[tree].list(path, place)?);
        }
        Ok(lists)
    }

    /// What a directory shows, of what its layers have there.
    pub(crate) fn merged<'n>(
        &self,
        path: &[u8],
        stack: &Stack,
        read: &'n Lists,
    ) -> Result<BTreeMap<&'n [u8], Shown>, Error> {
        let mut all: BTreeMap<&[u8], Shown> = BTreeMap::new();
        for &(tree, _) in stack {
            for (name, item) in read.get(&tree).into_iter().flatten() {
                let open = all.get(name.as_slice()).is_none_or(|shown| !shown.closed);
                let closes = open && {
                    // Others have nothing below them.
                    !item.is_dir() || self.all[tree].is_opaque(&joined(path, name), item.place())?
                };
                match all.get_mut(name.as_slice()) {
                    _ if !open => {}
                    None => {
                        let merged = if item.is_dir() { vec![(tree, item.place())] } else { Stack::new() };
                        all.insert(name, Shown { item: *item, tree, merged, closed: closes });
                    }
                    Some(shown) => {
                        shown.closed = closes;
                        if item.is_dir() {
                            // One that is only implied looks as the next layer below says, but not as what is there to be mounted on.
                            let implied = self.all[tree].layer().is_some()
                                && self.all[shown.tree].only_implies(&joined(path, name));
                            shown.merged.push((tree, item.place()));
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

pub(crate) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
