//! Layers, images, references and writable layers on disk.
//!
//! The directory is the database: every object is a file or directory of its own that appears by one atomic
//! rename after it was written and flushed, so readers take no locks and a kill, a full disk or a power cut
//! leaves either the object or nothing. Content is keyed by digests computed here.
//!
//! ```text
//! FORMAT                   version and feature lists
//! gc.lock                  shared while something becomes visible, exclusive while a sweep decides
//! blobs/<algorithm>/ab/…   manifests, indexes, configurations (never layers)
//! layers/<diffID>/         layer.json, tarhdr.zst, and either
//!                          fs/ (overlay form), shadow/ (content of replaced entries) or
//!                          layer.erofs (the same in one file, content of replaced entries included)
//! by-blob/<hex>            -> ../layers/<diffID>, only when both digests were computed here
//! images/<id>.json         manifests, layers, platform, created, size
//! refs/<escaped name>      one file per reference: to an image, or to an index among the blobs
//! leases/ staging/         what is being made; locked while its maker lives
//! containers/<id>/         the engine's; here rootfs.json, upper/ (what was changed, or all files), work/
//! partial/                 beginnings of blobs whose transfer broke off, not verified, for a week
//! tombs/                   on the way out
//! skeleton/                below every image: what things are mounted on
//! shifted/                 what layers show, with the owners of containers whose ids the kernel does not map
//! ```
//!
//! Lock order: a named lock (`<runroot>/store-locks/`: a blob being pulled, an image or layer record being
//! changed; an image before a name), then `gc.lock`. Before all of them comes the lock on the use of an image: shared from finding it to
//! the record of the container that has it, held alone while somebody makes sure that none has it, and removes it. A named lock taken while `gc.lock` is shared is never held by somebody who waits
//! for `gc.lock` exclusively, because a sweep takes no named lock.
//!
//! On disk before anything refers to it: a layer's files (an image and its documents by fdatasync, a tree by one syncfs), the
//! directory they are renamed to, blobs; then the image's record, then its name. Removal goes the other way, and flushes the
//! absence of a name or record before anything that it named goes. `docs/store.md` says what that leaves after a kill, a power cut
//! or on a full disk; [`Store::check`] verifies it.
//!
//! A layer found damaged has a file `suspect`: those who use it still do, who adds it makes it again, and the two are exchanged.
//!
//! What it does not do: mount anything, talk to registries, know what short names mean, start threads.
//!
//! ```no_run
//! use loment_store::{Durability, HashingSource, Store};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("/var/lib/loment".as_ref(), "/run/loment".as_ref(), Durability::Full)?;
//! let lease = store.lease()?;
//! let tar = std::fs::File::open("layer.tar")?;
//! let layer = lease.unpack_layer(HashingSource::new(tar))?.commit(None, None)?;
//! println!("{} is {:?}", layer.diff_id(), layer.lower());
//! # Ok(())
//! # }
//! ```

mod blob;
mod changes;
mod check;
mod container;
mod digest;
mod disk;
mod erofs;
mod error;
mod gc;
mod hold;
mod image;
mod implied;
mod inherit;
mod layer;
mod lease;
mod limits;
mod listing;
mod merged;
mod name;
mod owners;
mod partial;
mod record;
mod regenerate;
mod shifted;
mod skeleton;
mod store;
mod tar;
mod tombs;
mod unpack;
mod usage;
mod view;
mod whole;
mod xattrs;

pub use changes::{Change, ChangeKind};
pub use check::{Damage, Leftover, LeftoverKind, Object, Problem, Report};
pub use container::{Rootfs, has_copy};
pub use digest::{Algorithm, DiffId, Hasher, HashingSource, ImageId, NoId, TarSource, digest_of, sha256};
pub use disk::{Durability, unnamed_file};
pub use error::Error;
pub use gc::Freed;
pub use hold::{ImageHold, Unheld};
pub use image::{Catalog, ImagePlatform, ImageRecord, NamedImage};
pub use layer::{Form, Layer, LayerBlob, Lower};
pub use lease::{Claim, LayerSlot, Lease, SlotHold, StagedLayer};
pub use loment_sys::quota::Limits;
pub use name::{ImageName, IndexName, Origin, Target};
pub use owners::Owners;
pub use partial::Partial;
pub use shifted::{Content, Shifted};
pub use store::Store;
pub use tar::{
    ArchiveError, ArchiveIndex, ArchiveWriter, ExtractError, HeaderProblem, Member, Place, Rules, TreeForm,
    TreeTar, begins_archive, extract, remove_path,
};
pub use unpack::{EntryProblem, UnpackError};
pub use usage::OtherUsage;

/// Reads any bytes as the image of a layer, for the fuzzer: what damaged disks hold is refused, not trusted.
pub fn read_anything(bytes: &[u8]) {
    erofs::read_anything(bytes);
}

/// Reads any bytes as the tar of a layer, for the fuzzer. Nothing is written.
pub fn read_any_layer(bytes: &[u8]) {
    tar::read_anything(bytes);
}

/// Reads any bytes as an archive of files, for the fuzzer.
pub fn read_any_archive(bytes: &[u8]) {
    if let Ok(index) = ArchiveIndex::of(bytes) {
        // What is found is inside the archive.
        if let Ok(Some(member)) = index.find("manifest.json") {
            assert!(member.offset + member.size <= bytes.len() as u64);
        }
    }
}
