//! Leases: a place to stage in, and protection of what is not referenced yet.
//!
//! A lease is a locked file in `leases/` naming the objects its owner is about to reference, and a directory
//! in `staging/`. When the owner dies the kernel gives the lock up, and the next sweep takes both away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::Digest;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::digest::{Algorithm, DiffId, TarSource, digest_of};
use crate::disk::{self, Durability, NamedLock};
use crate::erofs;
use crate::error::{Context, Error};
use crate::layer::{self, Form, Layer, LayerBlob, LayerDocument};
use crate::store::{EROFS, Store};
use crate::tombs::MOUNTED;
use crate::unpack::{self, Summary};

/// The right to add objects. Dropping it removes what was staged and not committed.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    id: String,
    /// Locked while the lease lives; lines are appended.
    file: File,
}

/// Answer to asking for a layer by its blob.
#[derive(Debug)]
pub enum Claim<'l> {
    /// It is here, and stays while the lease lives.
    Present(Layer),
    /// It is not; whoever else asks waits until the slot is dropped.
    Missing(LayerSlot<'l>),
}

/// The exclusive right to make the layer of one blob.
#[derive(Debug)]
pub struct LayerSlot<'l> {
    lease: &'l Lease,
    lock: Arc<NamedLock>,
}

/// Keeps others waiting for a slot, also when that is gone.
#[derive(Debug)]
#[must_use]
pub struct SlotHold {
    _lock: Arc<NamedLock>,
}

/// A layer unpacked but visible to nobody. Dropping it removes it.
#[derive(Debug)]
pub struct StagedLayer<'l> {
    lease: &'l Lease,
    name: String,
    diff_id: DiffId,
    summary: Summary,
    _slot: Option<Arc<NamedLock>>,
}

impl Store {
    /// Takes a lease, after sweeping what dead owners left in the staging area.
    pub fn lease(&self) -> Result<Lease, Error> {
        self.sweep_stale()?;
        let _share = self.share()?;
        let id = disk::unique("lease-");
        let path = self.path("leases").join(&id);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .during("create", &path)?;
        file.lock().during("lock", &path)?;
        let lease = Lease { store: self.clone(), id, file };
        disk::make_dir(&lease.staging())?;
        Ok(lease)
    }
}

impl Lease {
    /// The store leased from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The layer with this identity, protected while the lease lives, if it is here.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, Error> {
        let _share = self.store.share()?;
        let layer = self.store.sound_layer(diff_id)?;
        if layer.is_some() {
            self.protect("layer", diff_id.hex())?;
        }
        Ok(layer)
    }

    /// The layer a blob unpacks to, or the right to make it. Waits while somebody else is making it, as long as it is `wanted`; `None`
    /// when it no longer is. Where another layer than the `expected` one is known to be that blob's, one of the two is mistaken, and
    /// nothing but the blob says which: it counts as missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn claim_layer(
        &self,
        blob: &Digest,
        expected: Option<&DiffId>,
        wanted: impl Fn() -> bool,
    ) -> Result<Option<Claim<'_>>, Error> {
        if let Some(layer) = self.layer_by_blob(blob, expected)? {
            return Ok(Some(Claim::Present(layer)));
        }
        let Some(lock) = self.store.lock_while(&format!("blob-{blob}"), wanted)? else { return Ok(None) };
        Ok(Some(match self.layer_by_blob(blob, expected)? {
            Some(layer) => Claim::Present(layer),
            None => Claim::Missing(LayerSlot { lease: self, lock: Arc::new(lock) }),
        }))
    }

    fn layer_by_blob(&self, blob: &Digest, expected: Option<&DiffId>) -> Result<Option<Layer>, Error> {
        let _share = self.store.share()?;
        let known = self.store.diff_id_of(blob)?;
        let Some(diff_id) = known.filter(|known| expected.is_none_or(|expected| known == expected)) else {
            return Ok(None);
        };
        let layer = self.store.sound_layer(&diff_id)?;
        if layer.is_some() {
            self.protect("layer", diff_id.hex())?;
        }
        Ok(layer)
    }

    /// Unpacks a layer nobody else can be making.
    pub fn unpack_layer<S: TarSource>(&self, source: S) -> Result<StagedLayer<'_>, Error> {
        self.unpack(source, None)
    }

    fn unpack<S: TarSource>(
        &self,
        source: S,
        slot: Option<Arc<NamedLock>>,
    ) -> Result<StagedLayer<'_>, Error> {
        let name = disk::unique("layer-");
        let path = self.staging().join(&name);
        disk::make_dir(&path)?;
        let unpacked = layer::open_dir(&path).and_then(|dir| {
            Ok(match self.store.form() {
                Form::Dir => unpack::unpack(source, dir.as_fd())?,
                Form::Erofs => erofs::unpack(source, dir.as_fd())?,
            })
        });
        let described = unpacked.and_then(|summary| {
            let diff_id = DiffId::try_from(summary.diff_id.clone());
            let diff_id = diff_id.map_err(|_| Error::Algorithm { digest: summary.diff_id.clone() })?;
            Ok((summary, diff_id))
        });
        match described {
            Ok((summary, diff_id)) => Ok(StagedLayer { lease: self, name, diff_id, summary, _slot: slot }),
            Err(error) => {
                // Best effort: the lease's end takes it otherwise. The first error is the one to tell.
                let _ = self.discard(&name);
                Err(error)
            }
        }
    }

    /// Stores a manifest, index or configuration after checking its digest.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let algorithm = Algorithm::of(digest).ok_or_else(|| Error::Algorithm { digest: digest.clone() })?;
        let found = digest_of(algorithm, bytes);
        if found != *digest {
            return Err(Error::Digest { what: "blob", expected: digest.clone(), found });
        }
        let _share = self.store.share()?;
        self.protect("blob", digest.as_ref())?;
        let path = self.store.blob_path(digest);
        // One that is damaged is replaced.
        if self.store.blob(digest).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent()
            && !parent.exists()
        {
            for dir in parent.ancestors().take(2).collect::<Vec<_>>().into_iter().rev() {
                disk::make_dir(dir)?;
                disk::sync_dir(dir.parent().unwrap_or(dir), self.store.durability())?;
            }
        }
        disk::write_file(&self.staging(), &path, bytes, self.store.durability())
    }

    /// Takes away what was staged.
    pub(crate) fn discard(&self, name: &str) -> Result<(), Error> {
        let staged = self.store.entomb(&self.staging(), name, "tomb-")?;
        if staged { self.store.empty_tombs_for_a_moment() } else { Ok(()) }
    }

    pub(crate) fn protect(&self, kind: &str, object: &str) -> Result<(), Error> {
        let path = self.store.path("leases").join(&self.id);
        (&self.file).write_all(format!("{kind} {object}\n").as_bytes()).during("write", &path)
    }

    /// A directory on the file system of the store, for what does not outlive the lease.
    pub fn staging(&self) -> PathBuf {
        self.store.staging().join(&self.id)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Best effort: the next sweep finds an unlocked lease and does the same.
        if self.store.entomb(&self.store.staging(), &self.id, "tomb-").is_ok_and(|was| was) {
            let _ = self.store.empty_tombs_for_a_moment();
        }
        let _ = fs::remove_file(self.store.path("leases").join(&self.id));
    }
}

impl<'l> LayerSlot<'l> {
    pub(crate) fn store(&self) -> &Store {
        &self.lease.store
    }

    /// For those who have something to end before another may try.
    pub fn hold(&self) -> SlotHold {
        SlotHold { _lock: Arc::clone(&self.lock) }
    }

    /// Unpacks the layer's tar; the slot is held until the result is committed or dropped.
    pub fn unpack<S: TarSource>(self, source: S) -> Result<StagedLayer<'l>, Error> {
        self.lease.unpack(source, Some(self.lock))
    }
}

impl StagedLayer<'_> {
    /// Identity of the tar that was unpacked.
    pub fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }

    /// Bytes of tar.
    pub fn size(&self) -> u64 {
        self.summary.size
    }

    /// Makes the layer visible, after flushing it. `blob` names the compressed stream it came from, whose
    /// digest the caller has verified against bytes it hashed itself.
    ///
    /// # Errors
    /// [`Error::DiffId`] when the tar is not the one `expected`.
    pub fn commit(mut self, expected: Option<&DiffId>, blob: Option<LayerBlob>) -> Result<Layer, Error> {
        if let Some(expected) = expected.filter(|&expected| *expected != self.diff_id) {
            return Err(Error::DiffId { expected: expected.clone(), found: self.diff_id.clone() });
        }
        let store = &self.lease.store;
        let from = self.lease.staging().join(&self.name);
        let document = LayerDocument {
            version: 1,
            diff_id: self.diff_id.clone(),
            form: store.form(),
            size: self.summary.size,
            entries: self.summary.entries,
            opaque_root: self.summary.opaque_root,
            explicit_root: self.summary.explicit_root,
            implied: std::mem::take(&mut self.summary.implied),
            blobs: blob.iter().cloned().collect(),
        };
        disk::write_new(&from.join("layer.json"), &disk::to_json(&document), Durability::None)?;
        if store.durability() == Durability::Full {
            flush(store.form(), &from)?;
        }
        if store.form() == Form::Erofs {
            store.need(EROFS)?;
        }
        let _share = store.share()?;
        self.lease.protect("layer", self.diff_id.hex())?;
        let to = store.layer_path(self.diff_id.hex());
        match fs::rename(&from, &to) {
            Ok(()) => disk::sync_dir(&store.path("layers"), store.durability())?,
            // The same tar came in another compression; what is there already is as good, unless it is known not to be.
            Err(error) if is_there(&error) => {
                if store.sound_layer(&self.diff_id)?.is_none() {
                    self.replace(&from, &to)?;
                }
            }
            Err(error) => return Err(error).during("create", &to),
        }
        match blob {
            Some(blob) => store.add_blob(&self.diff_id, blob),
            None => store
                .layer(&self.diff_id)?
                .ok_or(Error::CorruptLayer { layer: self.diff_id.clone(), problem: "layer.json is missing" }),
        }
    }
}

impl StagedLayer<'_> {
    /// Puts the layer where a damaged one is, which goes. What was known of that one's blobs stays true.
    fn replace(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let store = &self.lease.store;
        let read = |dir: &Path| disk::read_json::<LayerDocument>(&dir.join("layer.json"));
        if let (Ok(Some(damaged)), Some(mut document)) = (read(to), read(from)?) {
            let new = |blob: &LayerBlob| document.blobs.iter().all(|known| known.digest != blob.digest);
            let more: Vec<_> = damaged.blobs.into_iter().filter(new).collect();
            if !more.is_empty() {
                document.blobs.extend(more);
                let bytes = disk::to_json(&document);
                disk::write_file(
                    &self.lease.staging(),
                    &from.join("layer.json"),
                    &bytes,
                    store.durability(),
                )?;
            }
        }
        renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE).during("replace", to)?;
        disk::sync_dir(&store.path("layers"), store.durability())?;
        // The damaged one is there now, and may still be mounted.
        store.entomb(&self.lease.staging(), &self.name, MOUNTED).map(drop)
    }
}

/// Brings a staged layer to the disk.
fn flush(form: Form, staged: &Path) -> Result<(), Error> {
    match form {
        // One call instead of one for each of its files; it waits for what others have written to that file system, too.
        Form::Dir => layer::sync_fs(layer::open_dir(staged)?, staged),
        Form::Erofs => {
            for name in disk::names(staged)? {
                let path = staged.join(name);
                File::open(&path).and_then(|file| file.sync_data()).during("flush", &path)?;
            }
            disk::sync_dir(staged, Durability::Full)
        }
    }
}

fn is_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

impl Drop for StagedLayer<'_> {
    fn drop(&mut self) {
        // Nothing is there after a commit; otherwise best effort, the lease's end repeats it.
        let _ = self.lease.discard(&self.name);
    }
}
