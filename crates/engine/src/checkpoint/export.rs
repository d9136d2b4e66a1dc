//! Checkpoints as archives and images.

use std::collections::BTreeMap;
use std::fs::{File, FileType};
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use loment_image::{CommitOptions, Compression, Compressor, Format, commit};
use loment_runtime::checkpoint::Criu;
use loment_store::{ArchiveWriter, HashingSource, ImageId};
use oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, CWD, linkat};
use serde_json::{Value, json};

use super::archive::{
    CHANGES, CONFIG, DELETED, IMAGES, NETWORK, PARENT, RUNTIME_NAME, SPEC, Saved, VERSION, VOLUMES,
    VolumeRoot, nameless,
};
use super::{Checkpoint, PRE_CHECKPOINT};
use crate::config::Config;
use crate::container::Container;
use crate::error::{Context, invalid};
use crate::export::ChangedFiles;
use crate::names::new_id;
use crate::pods::{Pod, Shared};
use crate::view::open_many_files;
use crate::{Engine, Error};

/// The beginning of the names of Podman's annotations.
const ANNOTATIONS: &str = "io.podman.annotations.checkpoint";

/// Where a checkpoint goes besides its container.
#[derive(Clone, Debug)]
pub struct ExportCheckpoint {
    /// To this archive.
    pub file: Option<(PathBuf, Compression)>,
    /// To an image with this full name.
    pub image: Option<String>,
    /// Without the files that the container has changed.
    pub ignore_rootfs: bool,
    /// Without what is in its volumes.
    pub ignore_volumes: bool,
}

impl ExportCheckpoint {
    /// Refuses a place where no archive can be: before a container has ended for it.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Some((path, _)) = &self.file else { return Ok(()) };
        if path.is_dir() {
            return Err(invalid("checkpoint archive", path.display().to_string(), "it is a directory"));
        }
        directory_of(path).metadata().map(drop).context("write checkpoint archive", path.display())
    }
}

/// The directory that a file is to be in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What is in an archive besides the files of CRIU, which are copied from where they are.
pub(super) struct Pack {
    documents: Vec<(&'static str, Vec<u8>)>,
    /// Archives, by their names in this one.
    parts: Vec<(String, File)>,
    /// The directory of CRIU's files, and its name in the archive.
    images: (PathBuf, &'static str),
}

impl Engine {
    /// Reads what of a container that does nothing belongs to its checkpoint. For a process with one thread.
    pub(super) fn pack(
        &self,
        container: &Container,
        spec: &Spec,
        how: &Checkpoint,
        to: &ExportCheckpoint,
    ) -> Result<Pack, Error> {
        let config = &container.config;
        let image = config.image.as_ref();
        let mut saved = Saved {
            version: VERSION,
            config: config.clone(),
            shares: shares(config),
            pre: how.pre,
            previous: how.with_previous,
            volumes: BTreeMap::new(),
        };
        let mut parts = Vec::new();
        let mut deleted = Vec::new();
        if !to.ignore_rootfs && !how.pre && image.is_some() {
            open_many_files();
            let changed = self.changed_files(container)?;
            deleted = deleted_files(&changed, config)?;
            let mut file = self.nameless_file()?;
            self.write_changed(container, &changed, &mut BufWriter::new(&file))?;
            file.rewind().context("read", CHANGES)?;
            parts.push((CHANGES.to_owned(), file));
        }
        if !to.ignore_volumes && !how.pre {
            let names = config.files.volumes.iter().filter_map(|v| v.volume.as_ref());
            for used in names.map(|used| used.name.as_str()) {
                if saved.volumes.contains_key(used) {
                    continue;
                }
                let mut file = self.nameless_file()?;
                let root = self.write_volume(used, &mut BufWriter::new(&file))?;
                let root = VolumeRoot { uid: root.st_uid, gid: root.st_gid, mode: root.st_mode & 0o7777 };
                file.rewind().context("read volume", used)?;
                saved.volumes.insert(used.to_owned(), root);
                parts.push((format!("{VOLUMES}/{used}.tar"), file));
            }
        }
        let now = loment_monitor::now_rfc3339();
        let document = json!({
            "id": config.id,
            "name": config.name,
            "rootfsImage": image.map(|image| image.id.hex()),
            "rootfsImageName": image.map(|image| &image.name),
            "rootfsImageRef": image.map(|image| &image.digest),
            "runtime": "loment",
            "createdTime": config.created,
            "checkpointedTime": now,
            "restored": false,
            "loment": document_of(&saved).context("describe", &config.id)?,
        });
        let text = |value: &Value| format!("{value:#}\n").into_bytes();
        let spec = serde_json::to_value(spec).map_err(io::Error::other).context("describe", &config.id)?;
        let mut documents = vec![(CONFIG, text(&document)), (SPEC, text(&spec)), (NETWORK, text(&json!({})))];
        if !deleted.is_empty() {
            documents.push((DELETED, text(&json!(deleted))));
        }
        let name = if how.pre { PRE_CHECKPOINT } else { IMAGES };
        Ok(Pack { documents, parts, images: (self.dir(&config.id).join(name), name) })
    }

    /// Refuses a container that would not be what it was where it is alone.
    pub(super) fn check_exported(&self, config: &Config) -> Result<(), Error> {
        let refused = |hint: &str| Err(invalid("container to checkpoint", &config.name, hint));
        let alone = "checkpoint it without --export and --create-image";
        if !config.files.secrets.is_empty() {
            return refused(&format!("it has secrets, which are in no archive: {alone}"));
        }
        if config.init_container.is_some() {
            return refused(&format!("it prepares a pod for its other containers: {alone}"));
        }
        let infra = self.load_pod(&config.pod).ok().flatten().and_then(|pod| pod.infra);
        if config.dependencies().iter().any(|id| Some(*id) != infra.as_deref()) {
            // The words are Podman's.
            return refused("cannot export checkpoints of containers with dependencies");
        }
        Ok(())
    }

    /// Makes an image of a checkpoint.
    pub(super) fn image_of(
        &self,
        pack: &mut Pack,
        name: &str,
        config: &Config,
        criu: &Criu,
    ) -> Result<ImageId, Error> {
        let lease = self.store_for_layers().lease()?;
        let (reader, writer) = io::pipe().context("make", "a pipe")?;
        let layer = std::thread::scope(|scope| {
            let reader = scope.spawn(|| lease.unpack_layer(HashingSource::new(reader)));
            let written = pack.write(BufWriter::with_capacity(256 * 1024, writer)).map(drop);
            let staged = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (written, staged) {
                (Err(error), Ok(_)) => Err(error).context("write checkpoint image", name),
                // What was read is at fault where nobody reads on.
                (_, Err(error)) => Err(error.into()),
                (Ok(()), Ok(staged)) => Ok(staged.commit(None, None)?),
            }
        })?;
        let options = CommitOptions {
            author: None,
            message: None,
            changes: Vec::new(),
            created: jiff::Timestamp::now().to_string(),
            created_by: format!("checkpoint of container {}", config.name),
            config: json!({}),
            format: Format::Oci,
            annotations: annotations(config, criu),
        };
        Ok(commit(lease, None, &[], &layer, Some(name), &options)?)
    }
}

impl Pack {
    /// Writes the archive.
    fn write<W: Write>(&mut self, out: W) -> io::Result<W> {
        let mut tar = ArchiveWriter::new(out);
        for (name, text) in &self.documents {
            tar.add(name, text.len() as u64, &mut text.as_slice())?;
        }
        let (dir, inside) = &self.images;
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort();
        for path in files {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let kind: FileType = path.symlink_metadata()?.file_type();
            if kind.is_file() && name != PARENT {
                let mut file = File::open(&path)?;
                let size = file.metadata()?.size();
                tar.add(&format!("{inside}/{name}"), size, &mut file)?;
            }
        }
        for (name, file) in &mut self.parts {
            file.rewind()?;
            let size = file.metadata()?.size();
            tar.add(name, size, file)?;
        }
        tar.finish()
    }

    /// Writes it to a file, which has another content at once or not at all; only its owner may read what a program had in memory.
    pub(super) fn write_to(&mut self, path: &Path, compression: Compression) -> Result<(), Error> {
        let mut write = || -> io::Result<()> {
            // What is no file, such as a pipe, is written to.
            if path.metadata().is_ok_and(|meta| !meta.is_file()) {
                return self.compress(File::options().write(true).open(path)?, compression).map(drop);
            }
            let dir = directory_of(path);
            let beside = dir.join(format!(".{}", new_id()?));
            let named = |beside: &Path| {
                use std::os::unix::fs::OpenOptionsExt;
                File::options().write(true).create_new(true).mode(0o600).open(beside)
            };
            let (file, has_name) = match nameless(dir) {
                Ok(file) => (file, false),
                // A file system without such files.
                Err(_) => (named(&beside)?, true),
            };
            let put = || -> io::Result<()> {
                let file = self.compress(file, compression)?;
                file.sync_all()?;
                if !has_name {
                    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                    linkat(CWD, own, CWD, &beside, AtFlags::SYMLINK_FOLLOW)?;
                }
                std::fs::rename(&beside, path)?;
                File::open(dir)?.sync_all()
            };
            put().inspect_err(|_| drop(std::fs::remove_file(&beside)))
        };
        write().context("write checkpoint archive", path.display())
    }

    fn compress(&mut self, file: File, compression: Compression) -> io::Result<File> {
        let out = Compressor::new(compression, None, BufWriter::with_capacity(256 * 1024, file))?;
        self.write(out)?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// The document without the defaults of a configuration.
fn document_of(saved: &Saved) -> io::Result<Value> {
    let mut document = serde_json::to_value(saved)?;
    document["config"] = saved.config.document()?;
    Ok(document)
}

/// What a container has of another one's, which is that of its pod.
pub(super) fn shares(config: &Config) -> Vec<Shared> {
    let n = &config.namespaces;
    let all = [
        (Shared::Cgroup, n.cgroup.container()),
        (Shared::Ipc, n.ipc.container()),
        (Shared::Net, config.net.network.container()),
        (Shared::Pid, n.pid.container()),
        (Shared::User, n.user.container()),
        (Shared::Uts, n.uts.container()),
    ];
    all.into_iter().filter_map(|(shared, of)| of.map(|_| shared)).collect()
}

/// The paths that are gone, as Podman lists them.
fn deleted_files(changed: &ChangedFiles, config: &Config) -> Result<Vec<String>, Error> {
    let text = |path: &Vec<u8>| {
        let hint =
            "the name of a file that is removed is not UTF-8, which no archive can say: use --ignore-rootfs";
        let text = std::str::from_utf8(path);
        text.map(|text| format!("/{text}"))
            .map_err(|_| invalid("container to checkpoint", &config.name, hint))
    };
    changed.hidden.iter().map(text).collect()
}

/// What Podman says of an image that is a checkpoint.
fn annotations(config: &Config, criu: &Criu) -> BTreeMap<String, String> {
    let image = config.image.as_ref();
    let name = image.map_or("", |image| image.name.as_str());
    let kernel = rustix::system::uname();
    let all = [
        ("name", config.name.clone()),
        ("rawImageName", name.to_owned()),
        ("rootfsImageID", image.map_or("", |image| image.id.hex()).to_owned()),
        ("rootfsImageName", name.to_owned()),
        ("criu.version", criu.version().to_string()),
        ("runtime.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.arch", kernel.machine().to_string_lossy().into_owned()),
        ("host.kernel", kernel.release().to_string_lossy().into_owned()),
    ];
    let own = all.into_iter().map(|(key, value)| (format!("{ANNOTATIONS}.{key}"), value));
    own.chain([(RUNTIME_NAME.to_owned(), "loment".to_owned())]).collect()
}

/// Whether what a pod shares is enough for a container that shared this; in Podman's words if not.
pub(super) fn check_pod(shares: &[Shared], pod: &Pod) -> Result<(), Error> {
    match shares.iter().find(|shared| !pod.share.contains(shared)) {
        Some(shared) => {
            let hint = format!("it does not share the {} namespace", shared.name());
            Err(invalid("pod", &pod.name, hint))
        }
        None => Ok(()),
    }
}
