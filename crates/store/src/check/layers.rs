//! Layers: their documents, their tars, and everything that is derived from those.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::{Object, Report, tree};
use crate::digest::{DiffId, HashingSource};
use crate::disk;
use crate::erofs::{self, Image};
use crate::error::{Context, Error};
use crate::layer::{Form, Layer, SUSPECT, open_dir};
use crate::lease::Lease;
use crate::regenerate::Regenerated;
use crate::store::Store;
use crate::unpack::Summary;
use crate::view::{self, Tree};

pub(super) fn check(
    store: &Store,
    quick: bool,
    report: &mut Report,
    sound: &mut HashSet<Object>,
) -> Result<(), Error> {
    let layers = store.path("layers");
    let mut lease = None;
    for hex in disk::names(&layers)? {
        let Some(diff_id) = DiffId::from_hex(&hex) else { continue };
        report.looked_at[0] += 1;
        let object = Object::Layer(diff_id.clone());
        let dir = layers.join(&hex);
        let mut before = identity(&dir);
        loop {
            let result = match problem(store, &diff_id) {
                Err(error) => Err(error),
                Ok(Some(layer)) if !quick => {
                    let lease = match &mut lease {
                        Some(lease) => lease,
                        None => lease.insert(store.lease()?),
                    };
                    layer.verify().and_then(|()| again(&layer, lease))
                }
                Ok(_) => Ok(()),
            };
            let after = identity(&dir);
            match result {
                // Removed or replaced meanwhile: what was read was partly another's, or nobody's any more.
                _ if after.is_none() => break,
                Err(_) if after != before => before = after,
                Ok(()) => {
                    sound.insert(object);
                    break;
                }
                Err(error) if is_damage(&error) => {
                    report.broken(object, error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Which directory that is, if it is there.
fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(dir).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// What can be seen without reading content; the layer if that is all right.
fn problem(store: &Store, diff_id: &DiffId) -> Result<Option<Layer>, Error> {
    let corrupt = |problem| Error::CorruptLayer { layer: diff_id.clone(), problem };
    let dir = store.layer_path(diff_id.hex());
    let layer = store.layer(diff_id)?.ok_or_else(|| corrupt("layer.json is missing"))?;
    if layer.diff_id() != diff_id {
        return Err(corrupt("it is another layer"));
    }
    if dir.join(SUSPECT).exists() {
        return Err(corrupt("an earlier check found damage"));
    }
    if !dir.join("tarhdr.zst").is_file() {
        return Err(corrupt("the record of its tar is missing"));
    }
    match layer.form() {
        Form::Dir if !layer.fs().is_dir() => return Err(corrupt("its tree is missing")),
        Form::Erofs if !layer.image().is_file() => return Err(corrupt("its image is missing")),
        _ => {}
    }
    if let Tree::Erofs(_, image) = Tree::of(&layer)? {
        image.check().map_err(|error| view::failed(&layer, error))?;
    }
    Ok(Some(layer))
}

/// Makes the layer once more, as an image of its tar, which was verified. What the layer is kept as has to agree.
fn again(layer: &Layer, lease: &Lease) -> Result<(), Error> {
    let name = disk::unique("check-");
    let staged = lease.staging().join(&name);
    disk::make_dir(&staged)?;
    let result = open_dir(&staged).and_then(|dir| {
        let made = erofs::unpack(HashingSource::new(Regenerated::of(layer)?), dir.as_fd())?;
        compare(layer, &made, &staged.join("layer.erofs"))
    });
    lease.discard(&name)?;
    result
}

fn compare(layer: &Layer, summary: &Summary, made: &Path) -> Result<(), Error> {
    let corrupt = |problem| Error::CorruptLayer { layer: layer.diff_id().clone(), problem };
    if summary.diff_id != *layer.diff_id().digest() {
        return Err(corrupt("its tar has another digest"));
    }
    let known = layer.document();
    let agrees = (known.size, known.entries) == (summary.size, summary.entries)
        && (known.opaque_root, known.explicit_root) == (summary.opaque_root, summary.explicit_root)
        // Absent in what was written before there was this field.
        && (known.implied == summary.implied || known.implied.is_empty());
    if !agrees {
        return Err(corrupt("layer.json does not say what its tar says"));
    }
    let file = File::open(made).during("open", made)?;
    let problem = match layer.form() {
        Form::Dir => {
            let image = Image::open(file).map_err(|error| view::failed(layer, error))?;
            tree::difference(layer, &image)?
        }
        Form::Erofs => {
            let path = layer.image();
            let stored = File::open(&path).during("open", &path)?;
            let same = same(&stored, &file).during("read", &path)?;
            (!same).then_some("its image is not the one its tar gives")
        }
    };
    problem.map_or(Ok(()), |problem| Err(corrupt(problem)))
}

/// Whether two files have the same bytes.
pub(super) fn same(one: &File, other: &File) -> io::Result<bool> {
    let size = one.metadata()?.len();
    if size != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let mut at = 0;
    while at < size {
        let count = usize::try_from(size - at).unwrap_or(usize::MAX).min(a.len());
        one.read_exact_at(&mut a[..count], at)?;
        other.read_exact_at(&mut b[..count], at)?;
        if a[..count] != b[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// Whether an error says that what is stored is damaged, and not that there was no room or no right to look.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::CorruptLayer { .. } | Error::Document { .. } => true,
        Error::Io { operation: "read" | "open" | "look into" | "look at", source, .. } => !matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory | io::ErrorKind::ResourceBusy
        ),
        _ => false,
    }
}
