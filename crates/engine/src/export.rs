//! The files of a container as a tar, and as a layer of a new image.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use loment_events::What;
use loment_image::{CommitOptions, Format, ShortNames, commit};
use loment_monitor::protocol::{Answer, Connection, Request};
use loment_store::{Change, ChangeKind, HashingSource, ImageId, TreeForm, TreeTar};
use rustix::fs::{CWD, Mode, OFlags, Stat, openat};
use serde_json::{Map, Value, json};

use crate::config::{Config, Volume};
use crate::container::{Container, Status};
use crate::error::{Context, invalid};
use crate::spec;
use crate::view::open_many_files;
use crate::{Engine, Error};

/// How an image is made of a container.
#[derive(Clone, Debug)]
pub struct Commit {
    /// What it is called.
    pub name: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// Changes of its configuration, in order.
    pub changes: Vec<loment_image::Change>,
    /// Its kind of manifest.
    pub format: Format,
    /// Whether the container does nothing meanwhile; `None`: not if it can be paused.
    pub pause: Option<bool>,
    /// All is in one layer.
    pub squash: bool,
    /// What the image says besides (image-spec, config.md, `config`): variables, labels, ports and volumes are added, others replaced.
    pub config: Map<String, Value>,
    /// All places of volumes are those of volumes of the image, not only those of anonymous ones.
    pub include_volumes: bool,
}

impl Engine {
    /// Writes the files of a container as a tar, without what is mounted in it. For a process with one thread.
    ///
    /// # Errors
    /// Those of [`Engine::view`] and of writing.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        open_many_files();
        let container = self.container(name)?;
        let view = self.view(name)?;
        let owners = |uid, gid| view.owner_inside(uid, gid);
        let form = TreeForm { owners: &owners, changes: false, skip: &|_, _| false };
        let root = open_root(&view.root).context("open", &container.config.id)?;
        write(out, root, form, &[]).context("write the files of", &container.config.id)?;
        self.tell(&container.config, What::Export);
        Ok(())
    }

    /// What a container has changed in the files of its image.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was made from no image.
    pub fn changes(&self, name: &str) -> Result<Vec<Change>, Error> {
        let config = self.container(name)?.config;
        let changes = self.store().changes_of_container(&config.id)?;
        changes.ok_or_else(|| {
            let hint = "it was not made from an image, so it is not known what was there before";
            invalid("container", config.name, hint)
        })
    }

    /// Makes an image of what a container has changed in that it was made from. For a process with one thread.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was made from no image, unless all goes into one layer; those of [`Engine::view`].
    pub fn commit(&self, name: &str, short_names: &ShortNames, how: Commit) -> Result<ImageId, Error> {
        open_many_files();
        let new_name = how.name.as_ref().map(|name| self.full_name(name, short_names)).transpose()?;
        let container = self.container(name)?;
        let config = &container.config;
        let base = match &config.image {
            Some(image) => self.store().image(&image.id)?,
            None if how.squash => None,
            None => {
                let hint = "it was not made from an image, so there is nothing to add to: use --squash";
                return Err(invalid("container to commit", &config.name, hint));
            }
        };
        let document = base.as_ref().map(|image| self.document_of(&image.id)).transpose()?;
        let lease = self.store_for_layers().lease()?;
        let pause = how.pause.unwrap_or(container.cgroup().is_some());
        let frozen = match pause && container.status == Status::Running {
            true => Some(Frozen::new(self, &container)?),
            false => None,
        };
        let layer = self.layer_of(&lease, &container, how.squash);
        drop(frozen);
        let layer = layer?;
        let below = base.as_ref().filter(|_| !how.squash).map(|image| self.store().layers_of(image));
        let options = CommitOptions {
            author: how.author,
            message: how.message,
            changes: how.changes,
            created: jiff::Timestamp::now().to_string(),
            created_by: config.args().join(" "),
            config: image_config(config, document.as_ref(), &how.config, how.include_volumes),
            format: how.format,
            annotations: BTreeMap::new(),
        };
        let below = below.transpose()?.unwrap_or_default();
        let id = commit(lease, document, &below, &layer, new_name.as_deref(), &options)?;
        self.tell(config, What::Commit);
        Ok(id)
    }

    /// The paths that a container has changed in the files of its image.
    pub(crate) fn changed_files(&self, container: &Container) -> Result<ChangedFiles, Error> {
        Ok(ChangedFiles::of(self.changes(&container.config.id)?))
    }

    /// Writes those of them that are there as a tar. For a process with one thread.
    pub(crate) fn write_changed(
        &self,
        container: &Container,
        changed: &ChangedFiles,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let id = &container.config.id;
        let view = self.view(id)?;
        let owners = |uid, gid| view.owner_inside(uid, gid);
        let skip = |path: &[u8], stat: &Stat| {
            !changed.shown.contains(path) || is_stub(&container.config, path, stat)
        };
        let form = TreeForm { owners: &owners, changes: false, skip: &skip };
        let root = open_root(&view.root).context("open", id)?;
        write(out, root, form, &[]).context("read the files of", id)
    }

    /// The configuration of an image as it is written.
    fn document_of(&self, id: &ImageId) -> Result<Value, Error> {
        let bytes = self.store().blob(id.digest())?;
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::Damaged { path: format!("configuration {id}"), source })
    }

    fn layer_of(
        &self,
        lease: &loment_store::Lease,
        container: &Container,
        whole: bool,
    ) -> Result<loment_store::Layer, Error> {
        let id = &container.config.id;
        let rootfs = self.store().rootfs(id)?;
        let view = if whole { Some(self.view(id)?) } else { None };
        let root = match (&view, &rootfs) {
            (Some(view), _) => open_root(&view.root),
            (None, Some(rootfs)) => openat(CWD, &rootfs.upper, FOR_READING, Mode::empty()),
            (None, None) => return Err(Error::NoContainer { name: id.clone() }),
        };
        let root = root.context("open", id)?;
        // Of a copy of all files of the image, those that it changed.
        let changes = match &rootfs {
            Some(rootfs) if rootfs.whole && !whole => Some(ChangedFiles::of(self.changes(id)?)),
            _ => None,
        };
        let (reader, writer) = io::pipe().context("make", "a pipe")?;
        // Where the kernel maps owners, overlayfs has those of the container's users in what it keeps.
        let of_changes = rootfs.as_ref().and_then(|rootfs| rootfs.owners.as_ref());
        let owners = |uid, gid| match (&view, of_changes) {
            (Some(view), _) => view.owner_inside(uid, gid),
            (None, Some(owners)) => owners.inside(uid, gid),
            (None, None) => (uid, gid),
        };
        let form = TreeForm {
            owners: &owners,
            changes: !whole,
            skip: &|path, stat| {
                changes.as_ref().is_some_and(|changes| !changes.shown.contains(path))
                    || is_stub(&container.config, path, stat)
            },
        };
        let hidden = changes.as_ref().map_or(&[][..], |changes| &changes.hidden);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| lease.unpack_layer(HashingSource::new(reader)));
            let mut writer = BufWriter::with_capacity(256 * 1024, writer);
            let written = write(&mut writer, root, form, hidden);
            drop(writer);
            let staged = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (written, staged) {
                (Err(error), Ok(_)) => Err(error).context("read the files of", id),
                // What was read is at fault where nobody reads on.
                (_, Err(error)) => Err(error.into()),
                (Ok(()), Ok(staged)) => Ok(staged.commit(None, None)?),
            }
        })
    }
}

/// How long its monitor is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that does nothing while this lives.
pub(crate) struct Frozen<'a> {
    engine: &'a Engine,
    container: &'a Container,
    /// While it is open, its monitor knows that it has to let the container go on if this process does not.
    _connection: Option<Connection>,
}

impl<'a> Frozen<'a> {
    pub(crate) fn new(engine: &'a Engine, container: &'a Container) -> Result<Self, Error> {
        let ask = || {
            let connection = container.monitor_within(PATIENCE)?;
            connection.send(&Request::Thaw).ok()?;
            // One of an older build does not know how, and says so.
            connection.receive().ok().filter(|answer| matches!(answer, Some(Answer::Started { .. })))?;
            Some(connection)
        };
        let frozen = Self { engine, container, _connection: ask() };
        engine.freeze(container, true).map(|()| frozen)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // One that has ended meanwhile needs it no more.
        let _ = self.engine.freeze(self.container, false);
    }
}

/// Paths that a container has changed, as they are in archives.
pub(crate) struct ChangedFiles {
    shown: HashSet<Vec<u8>>,
    /// Those that are gone.
    pub(crate) hidden: Vec<Vec<u8>>,
}

impl ChangedFiles {
    fn of(changes: Vec<Change>) -> Self {
        let is_gone = |change: &Change| change.kind == ChangeKind::Deleted;
        let (gone, there): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_gone);
        let path = |change: Change| change.path.strip_prefix(b"/").unwrap_or(&change.path).to_vec();
        Self { shown: there.into_iter().map(path).collect(), hidden: gone.into_iter().map(path).collect() }
    }
}

fn write(out: &mut dyn Write, root: OwnedFd, form: TreeForm<'_>, hidden: &[Vec<u8>]) -> io::Result<()> {
    let mut tar = TreeTar::new(out, form);
    hidden.iter().try_for_each(|path| tar.hide(path, &root))?;
    tar.add_all(root, b"")?;
    tar.finish().map(drop)
}

/// Opens for reading what a descriptor only names.
fn open_root(dir: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    openat(dir, ".", FOR_READING, Mode::empty())
}

const FOR_READING: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Whether that was made to have something to mount on, and is of no use in an image.
fn is_stub(config: &Config, path: &[u8], stat: &Stat) -> bool {
    let inside = |generated: &str| generated.as_bytes().strip_prefix(b"/") == Some(path);
    stat.st_size == 0 && spec::generated(config).any(|(_, path)| inside(path))
}

/// What an image of a container says about containers made from it.
fn image_config(
    config: &Config,
    base: Option<&Value>,
    further: &Map<String, Value>,
    all_volumes: bool,
) -> Value {
    let of_base = base.and_then(|base| base.get("config")?.as_object().cloned());
    let mut all: Map<String, Value> = of_base.unwrap_or_default();
    let process = &config.process;
    // What is true of this container only.
    let own = ["container=", "HOSTNAME="];
    let env: Vec<_> = process.env.iter().filter(|e| !own.iter().any(|own| e.starts_with(own))).collect();
    let mut set = |key: &str, value: Value| match is_empty(&value) {
        true => drop(all.remove(key)),
        false => drop(all.insert(key.to_owned(), value)),
    };
    set("Env", json!(env));
    set("Cmd", json!(process.command));
    set("Entrypoint", json!(process.entrypoint));
    set("User", json!(process.user));
    set("WorkingDir", json!(process.workdir));
    set("Labels", json!(config.labels));
    let is_anonymous = |volume: &Volume| volume.volume.as_ref().is_some_and(|used| used.anonymous);
    let volumes = config.files.volumes.iter().filter(|volume| all_volumes || is_anonymous(volume));
    let volumes: Map<_, _> =
        volumes.map(|volume| (volume.destination.display().to_string(), json!({}))).collect();
    for (key, value) in
        [("Volumes".to_owned(), Value::Object(volumes))].iter().map(|(k, v)| (k, v)).chain(further)
    {
        add(&mut all, key, value);
    }
    Value::Object(all)
}

/// Adds to a list of variables or a set, and replaces anything else. What is empty says nothing.
fn add(all: &mut Map<String, Value>, key: &str, value: &Value) {
    if is_empty(value) {
        return;
    }
    match (all.get_mut(key), value) {
        (Some(Value::Object(known)), Value::Object(new)) => known.extend(new.clone()),
        (Some(Value::Array(known)), Value::Array(new)) if key == "Env" => {
            let name = |variable: &Value| {
                variable.as_str().and_then(|text| text.split('=').next()).map(str::to_owned)
            };
            known.retain(|variable| !new.iter().any(|other| name(other) == name(variable)));
            known.extend(new.iter().cloned());
        }
        _ => drop(all.insert(key.to_owned(), value.clone())),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
