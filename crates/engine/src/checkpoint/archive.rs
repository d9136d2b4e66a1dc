//! A checkpoint outside of its container: a tar with the names that Podman and checkpointctl use (checkpointctl, `lib/metadata.go`).
//!
//! What is in one is nobody's word to be taken: members are found by name and read as bytes, nothing is made under a name that an
//! archive chooses, and what it says of its container is checked as what a user asks for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use loment_image::ShortNames;
use loment_store::{ArchiveIndex, ImageId, Member};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Config, ImageUse};
use crate::copy_files::archive;
use crate::error::{Context, invalid};
use crate::names::new_id;
use crate::pods::Shared;
use crate::{Engine, Error};

/// What it was, for people and for checkpointctl; what it was for us is a field of that.
pub(super) const CONFIG: &str = "config.dump";
/// Its specification.
pub(super) const SPEC: &str = "spec.dump";
/// What it had of networks.
pub(super) const NETWORK: &str = "network.status";
/// What CRIU has written; that of an earlier look at its memory is in [`super::PRE_CHECKPOINT`].
pub(super) const IMAGES: &str = "checkpoint";
/// Files that it has changed.
pub(super) const CHANGES: &str = "rootfs-diff.tar";
/// A list of those that it has removed.
pub(super) const DELETED: &str = "deleted.files";
/// The directory with a tar for each volume.
pub(super) const VOLUMES: &str = "volumes";
/// By this annotation Podman knows an image that is a checkpoint.
pub(super) const RUNTIME_NAME: &str = "io.podman.annotations.checkpoint.runtime.name";

/// The version of [`Saved`].
pub(super) const VERSION: u32 = 1;
/// Bytes of a document. That of a container with a thousand volumes has 300 kB.
const MAX_DOCUMENT: u64 = 16 << 20;

/// What an archive says of its container, for us.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    /// Version of this document.
    pub(super) version: u32,
    /// What it was.
    pub(super) config: Config,
    /// What it shared with its pod.
    pub(super) shares: Vec<Shared>,
    /// Only its memory is there.
    pub(super) pre: bool,
    /// Its memory is what changed since another archive was made.
    pub(super) previous: bool,
    /// Its volumes, by name.
    pub(super) volumes: BTreeMap<String, VolumeRoot>,
}

/// The directory that a volume is, which is not in its tar.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct VolumeRoot {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

/// A checkpoint that can be restored.
#[derive(Debug)]
pub struct CheckpointArchive {
    /// What users call it.
    name: String,
    file: File,
    index: ArchiveIndex,
    pub(super) saved: Saved,
}

impl CheckpointArchive {
    fn read(name: &str, file: File) -> Result<Self, Error> {
        let index = ArchiveIndex::read(&file).map_err(|e| damaged(name, &e))?;
        let mut archive = Self { name: name.to_owned(), file, index, saved: Saved::default() };
        let none = || damaged(name, &format!("it has no {CONFIG}, so it is no checkpoint"));
        let text = archive.document(CONFIG)?.ok_or_else(none)?;
        let is_wrong = |e: serde_json::Error| damaged(name, &format!("{CONFIG}: {e}"));
        let mut document: Value = serde_json::from_slice(&text).map_err(is_wrong)?;
        let Some(own) = document.get_mut("loment").map(Value::take) else {
            let by = document["runtime"].as_str().unwrap_or("another runtime");
            let hint = format!("it was made by another engine, with {by}: restore it there");
            return Err(archive.refused(&hint));
        };
        let version = own["version"].as_u64().unwrap_or_default();
        if version != u64::from(VERSION) {
            let hint = format!("it is version {version}, this program understands {VERSION}");
            return Err(archive.refused(&hint));
        }
        archive.saved = serde_json::from_value(own).map_err(is_wrong)?;
        Ok(archive)
    }

    /// The image that its container was made from.
    pub fn image(&self) -> Option<&ImageUse> {
        self.saved.config.image.as_ref()
    }

    /// Why it is not taken.
    pub(super) fn refused(&self, hint: &str) -> Error {
        invalid("checkpoint archive", &self.name, hint)
    }

    pub(super) fn damaged(&self, why: &dyn std::fmt::Display) -> Error {
        damaged(&self.name, why)
    }

    /// The content of a member; `None` when there is none of that name.
    pub(super) fn member(&self, name: &str) -> Result<Option<Section<'_>>, Error> {
        let found = self.index.find(name).map_err(|e| self.damaged(&e))?;
        Ok(found.map(|Member { offset, size }| Section { file: &self.file, at: offset, end: offset + size }))
    }

    /// All of a small member.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(section) = self.member(name)? else { return Ok(None) };
        if section.end - section.at > MAX_DOCUMENT {
            return Err(self.damaged(&format!("{name} is larger than anything is made")));
        }
        let mut text = Vec::new();
        BufReader::new(section).read_to_end(&mut text).context("read", &self.name)?;
        Ok(Some(text))
    }

    /// The names of the files in one of its directories, which has no other directories; sorted.
    pub(super) fn files_in(&self, directory: &str) -> Result<Vec<String>, Error> {
        let below = self.index.names().filter_map(|name| name.strip_prefix(directory)?.strip_prefix('/'));
        // What the files are an addition to is found without it.
        let mut names: Vec<String> = below.filter(|name| *name != PARENT).map(str::to_owned).collect();
        names.sort_unstable();
        let is_plain = |name: &String| {
            name.len() <= 255 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        match names.iter().find(|name| !is_plain(name) || name.starts_with('.')) {
            Some(name) => {
                Err(self.damaged(&format!("{directory}/{name} is no name of a file that CRIU writes")))
            }
            None => Ok(names),
        }
    }
}

/// The link by which CRIU finds the memory that was saved before.
pub(super) const PARENT: &str = "parent";

fn damaged(name: &str, why: &dyn std::fmt::Display) -> Error {
    invalid("checkpoint archive", name, why.to_string())
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Section<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(out.len());
        let count = self.file.read_at(&mut out[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Engine {
    /// Opens an archive that a checkpoint was written to, and looks at what it says; it may be compressed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is none, or none of ours.
    pub fn open_checkpoint(&self, path: &Path) -> Result<CheckpointArchive, Error> {
        let name = path.display().to_string();
        let packed = File::open(path).context("open checkpoint archive", &name)?;
        let mut plain =
            archive(BufReader::with_capacity(256 * 1024, packed)).map_err(|error| match error {
                Error::NoArchive => damaged(&name, &"it is no tar, or compressed as none is that is known"),
                error => error,
            })?;
        let mut file = self.nameless_file()?;
        io::copy(&mut plain, &mut file)
            .and_then(|_| file.rewind())
            .context("unpack checkpoint archive", &name)?;
        CheckpointArchive::read(&name, file)
    }

    /// The same of an image; `None` when that is no checkpoint.
    ///
    /// # Errors
    /// Those of [`Engine::open_checkpoint`]; [`Error::Store`].
    pub fn checkpoint_in_image(&self, id: &ImageId, name: &str) -> Result<Option<CheckpointArchive>, Error> {
        let record = self.store().image(id)?.ok_or_else(|| Error::NoImage { name: name.to_owned() })?;
        let manifest = self.own_manifest(&record)?.unwrap_or_default();
        if !manifest.annotations.contains_key(RUNTIME_NAME) {
            return Ok(None);
        }
        let layers = self.store().layers_of(&record)?;
        let [layer] = layers.as_slice() else {
            return Err(damaged(name, &"it has not one layer, as checkpoints have"));
        };
        let mut file = self.nameless_file()?;
        layer.write_tar(io::BufWriter::with_capacity(256 * 1024, &file))?;
        file.rewind().context("unpack checkpoint image", name)?;
        CheckpointArchive::read(name, file).map(Some)
    }

    /// The image of that name, if there is one.
    ///
    /// # Errors
    /// Those of [`Engine::find_image`], but that there is none.
    pub fn find_checkpoint_image(
        &self,
        input: &str,
        short_names: &ShortNames,
    ) -> Result<Option<(ImageId, String)>, Error> {
        match self.find_image(input, short_names) {
            Err(Error::NoImage { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A file in the store's file system that nobody else can open, and that goes with its descriptor.
    pub(super) fn nameless_file(&self) -> Result<File, Error> {
        let made = match nameless(self.root()) {
            // A file system without such files.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::OPNOTSUPP | Errno::ISDIR)) => {
                let path = self.root().join(format!(".{}", new_id().context("choose", "a name")?));
                let file = File::options().read(true).write(true).create_new(true).open(&path);
                file.and_then(|file| std::fs::remove_file(&path).map(|()| file))
            }
            made => made,
        };
        made.context("make a file in", self.root().display())
    }
}

/// A file without a name on the file system of a directory.
pub(super) fn nameless(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?.into())
}
