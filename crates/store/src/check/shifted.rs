//! Trees with other owners: each is made once more, and what is there has to be the same.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layers::same;
use super::{Object, Report};
use crate::container::RootfsDocument;
use crate::disk;
use crate::error::{Context, Error};
use crate::owners::Owners;
use crate::shifted::{Content, PREFIXES, SHIFTED, key};
use crate::store::Store;

/// Looks at the trees of containers whose layers are sound.
pub(super) fn check(store: &Store, report: &mut Report) -> Result<(), Error> {
    let containers = store.path("containers");
    // Whether each tree is right.
    let mut known: HashMap<PathBuf, bool> = HashMap::new();
    for id in disk::names(&containers)? {
        let path = containers.join(&id).join("rootfs.json");
        // One that cannot be read is damaged itself.
        let Ok(Some(mut document)) = disk::read_json::<RootfsDocument>(&path) else { continue };
        let Some(owners) = document.owners.take().map(Owners::from) else { continue };
        let objects = report.objects();
        if document.layers.iter().any(|layer| objects.contains(&Object::Layer(layer.clone()))) {
            continue;
        }
        for content in [Content::Copied, Content::OfLayers] {
            let name = format!("{}{}", PREFIXES[content as usize], key(&document.layers, &owners));
            let tree = store.path(SHIFTED).join(name);
            let is_right = match known.get(&tree) {
                Some(&is_right) => is_right,
                None => {
                    let is_right = !tree.exists() || is_right(store, &tree, &document, &owners, content)?;
                    *known.entry(tree.clone()).or_insert(is_right)
                }
            };
            // Unless it has gone meanwhile.
            if !is_right && tree.exists() {
                report.broken(Object::Container(id.clone()), Error::CorruptTree { path: tree });
            }
        }
    }
    Ok(())
}

fn is_right(
    store: &Store,
    tree: &Path,
    document: &RootfsDocument,
    owners: &Owners,
    content: Content,
) -> Result<bool, Error> {
    let layers = store.layers_in(document)?;
    let lease = store.lease()?;
    let name = disk::unique("check-");
    let again = lease.staging().join(&name);
    store.copy_layers(&layers, &again, owners, content)?;
    let same = is_same(&again, tree);
    lease.discard(&name)?;
    match same {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        same => same.during("read", tree),
    }
}

/// Whether two trees are the same: names, kinds, owners, modes, times, links, attributes and content.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let (one, other) = (one.join(&path), other.join(&path));
        let (a, b) = (fs::symlink_metadata(&one)?, fs::symlink_metadata(&other)?);
        let looks = |m: &Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
        let links = |m: &Metadata| if m.is_dir() { (0, 0) } else { (m.len(), m.nlink()) };
        if looks(&a) != looks(&b) || links(&a) != links(&b) {
            return Ok(false);
        }
        if a.is_symlink() {
            if fs::read_link(&one)? != fs::read_link(&other)? {
                return Ok(false);
            }
        } else if a.is_file() {
            // Without content there is nothing to read.
            let has_none = a.blocks() == 0 && b.blocks() == 0;
            let (one, other) = (File::open(&one)?, File::open(&other)?);
            if crate::xattrs::of(&one)? != crate::xattrs::of(&other)? || !(has_none || same(&one, &other)?) {
                return Ok(false);
            }
        } else if a.is_dir() {
            let (one_dir, other_dir) = (File::open(&one)?, File::open(&other)?);
            let names = |dir: &Path| -> io::Result<Vec<_>> {
                let mut names =
                    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
                names.sort_unstable();
                Ok(names)
            };
            let below = names(&one)?;
            if crate::xattrs::of(&one_dir)? != crate::xattrs::of(&other_dir)? || below != names(&other)? {
                return Ok(false);
            }
            left.extend(below.into_iter().map(|name| path.join(name)));
        }
    }
    Ok(true)
}
