//! A container in a list, field by field: of 2,000 containers nothing is made that is not shown.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};

use loment_engine::{Engine, Listed, Status};
use loment_image::Reference;
use loment_store::ImageId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::globals::Globals;
use crate::template::{LABELS, joined};
use crate::units::{ago, go_time, human_duration, human_size, seconds_since};

pub(super) const HEADERS: [(&str, &str); 37] = [
    ("ID", "CONTAINER ID"),
    ("Id", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("Command", "COMMAND"),
    ("Args", "ARGS"),
    ("Created", "CREATED"),
    ("CreatedHuman", "CREATED"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("ExposedPorts", "EXPOSED PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("Size", "SIZE"),
    ("AutoRemove", "AUTO REMOVE"),
    ("CIDFile", "CID FILE"),
    ("ExitCode", "EXIT CODE"),
    ("Exited", "EXITED"),
    ("ExitedAt", "EXITED AT"),
    ("IsInfra", "IS INFRA"),
    ("Pid", "PID"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
    ("Restarts", "RESTARTS"),
    ("StartedAt", "STARTED AT"),
    ("CGROUPNS", "CGROUPNS"),
    ("IPC", "IPC"),
    ("MNT", "MNT"),
    ("NET", "NET"),
    ("PIDNS", "PIDNS"),
    ("UTS", "UTS"),
];
/// Fields whose headings are rarely asked for.
const MORE: [(&str, &str); 3] =
    [("USERNS", "USERNS"), ("Namespaces", "NAMESPACES"), ("Platform", "PLATFORM")];

/// Namespaces as Podman's columns call them, and as /proc does.
const NAMESPACES: [(&str, &str); 7] = [
    ("CGROUPNS", "cgroup"),
    ("IPC", "ipc"),
    ("MNT", "mnt"),
    ("NET", "net"),
    ("PIDNS", "pid"),
    ("USERNS", "user"),
    ("UTS", "uts"),
];

/// All fields, with their headings.
pub(in crate::commands) fn headers() -> Vec<(&'static str, &'static str)> {
    HEADERS.iter().chain(&MORE).copied().collect()
}

/// Go's time that never was, in seconds.
const NEVER: i64 = -62_135_596_800;

/// How fields are shown.
pub(super) struct Rows<'g> {
    globals: &'g Globals,
    engine: &'g Engine,
    no_trunc: bool,
    sizes: RefCell<HashMap<ImageId, u64>>,
    pods: OnceCell<HashMap<String, String>>,
}

/// What a container occupies, in bytes.
pub(super) struct Size {
    /// Its changes.
    pub(super) own: u64,
    /// With its image.
    all: u64,
}

impl<'g> Rows<'g> {
    pub(super) fn new(globals: &'g Globals, engine: &'g Engine, no_trunc: bool) -> Self {
        Self { globals, engine, no_trunc, sizes: RefCell::default(), pods: OnceCell::new() }
    }

    /// A record with the fields that are wanted.
    pub(super) fn record(&self, c: &Listed, wants: impl Fn(&str) -> bool) -> Value {
        let mut record = Map::new();
        for (field, _) in HEADERS.iter().chain(&MORE) {
            if wants(field) {
                record.insert((*field).to_owned(), self.field(c, field));
            }
        }
        if wants(LABELS) {
            record.insert(LABELS.to_owned(), json!(c.labels));
        }
        record.into()
    }

    /// The text of a column of a table.
    pub(super) fn cell(&self, c: &Listed, column: &str) -> String {
        match self.field(c, column) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    fn field(&self, c: &Listed, field: &str) -> Value {
        let docker = self.globals.persona.docker_documents;
        match field {
            "ID" => if self.no_trunc { c.id.as_str() } else { c.short_id() }.into(),
            "Id" => c.id.as_str().into(),
            "Image" => self.image_name(c).into(),
            "ImageID" => c.image.as_ref().map(|image| image.id.hex()).unwrap_or_default().into(),
            "Command" => self.command(c).into(),
            "Args" => json!(c.args),
            "Created" | "CreatedAt" => go_time(&c.created).into(),
            "CreatedHuman" | "RunningFor" => ago(&c.created).into(),
            "Status" => status(c, docker).into(),
            "State" => c.status.name().into(),
            "Names" => c.name.as_str().into(),
            "Labels" => joined(&c.labels).into(),
            "LocalVolumes" => local_volumes(c).to_string().into(),
            "Mounts" if docker => self.mounts(c).join(",").into(),
            "Mounts" => json!(self.mounts(c)),
            "Networks" => networks(c, docker).join(",").into(),
            "Size" => self.size_text(c).into(),
            "AutoRemove" => c.supervision.auto_remove.into(),
            "ExitCode" => c.state.exit_code.into(),
            "Exited" => (c.status == Status::Exited).into(),
            "ExitedAt" => seconds(&c.state.finished_at).into(),
            "IsInfra" => c.infra.into(),
            "Pod" => if self.no_trunc { c.pod.as_str() } else { c.pod.get(..12).unwrap_or_default() }.into(),
            "PodName" => self.pod_name(c).into(),
            "Pid" => c.state.pid.into(),
            "Restarts" => c.state.restarts.into(),
            "StartedAt" => seconds(&c.state.started_at).into(),
            "Namespaces" => namespaces(c),
            name => match NAMESPACES.iter().find(|(column, _)| *column == name) {
                Some((_, file)) => namespace(c, file).into(),
                // Of these, no container has any.
                None => "".into(),
            },
        }
    }

    /// The name of the pod it is in.
    fn pod_name(&self, c: &Listed) -> String {
        if c.pod.is_empty() {
            return String::new();
        }
        let names = self.pods.get_or_init(|| self.engine.pod_names());
        names.get(&c.pod).cloned().unwrap_or_default()
    }

    fn command(&self, c: &Listed) -> String {
        // Nothing is executed in an infra container.
        let mut command = if c.infra { String::new() } else { c.args.join(" ") };
        if !self.no_trunc && command.chars().count() > 20 {
            command = command.chars().take(17).collect::<String>() + "...";
        }
        if self.globals.persona.docker_documents { format!("{command:?}") } else { command }
    }

    fn mounts(&self, c: &Listed) -> Vec<String> {
        let docker = self.globals.persona.docker_documents;
        let path = |volume: &loment_engine::config::Volume| {
            // Docker says what is mounted, Podman where.
            match (&volume.volume, &volume.image) {
                (Some(used), _) if docker => used.name.clone(),
                (None, Some(image)) if docker => image.name.clone(),
                _ if docker => volume.source.display().to_string(),
                _ => volume.destination.display().to_string(),
            }
        };
        c.volumes.iter().map(path).collect()
    }

    /// What it occupies; the same image is looked up once.
    pub(super) fn size(&self, c: &Listed) -> Size {
        let own = self.engine.store().rootfs_usage(&c.id).unwrap_or_default();
        let Some(image) = &c.image else { return Size { own, all: own } };
        let of_image = || {
            let record = self.engine.store().image(&image.id).ok().flatten();
            record.map_or(0, |record| record.size)
        };
        let of_image = *self.sizes.borrow_mut().entry(image.id.clone()).or_insert_with(of_image);
        Size { own, all: own + of_image }
    }

    fn size_text(&self, c: &Listed) -> String {
        let Size { own, all } = self.size(c);
        format!("{} (virtual {})", human_size(own, false), human_size(all, false))
    }

    fn image_name(&self, c: &Listed) -> String {
        let Some(image) = &c.image else {
            return c.rootfs.as_ref().map(|r| r.path.display().to_string()).unwrap_or_default();
        };
        match image.name.parse::<Reference>() {
            Ok(reference) if self.globals.persona.docker_documents => reference.familiar(),
            _ => image.name.clone(),
        }
    }

    /// The document that Podman prints as json.
    pub(super) fn podman_document<'c>(
        &self,
        c: &'c Listed,
        with_size: bool,
        with_namespaces: bool,
    ) -> Document<'c> {
        let size = with_size.then(|| self.size(c));
        Document {
            auto_remove: c.supervision.auto_remove,
            cid_file: "",
            command: &c.args,
            created_at: ago(&c.created),
            exited: c.status == Status::Exited,
            exited_at: seconds(&c.state.finished_at),
            exit_code: c.state.exit_code,
            exposed_ports: (),
            id: &c.id,
            image: self.image_name(c),
            image_id: c.image.as_ref().map(|image| image.id.hex()).unwrap_or_default(),
            is_infra: c.infra,
            labels: Some(&c.labels).filter(|labels| !labels.is_empty()),
            mounts: self.mounts(c),
            names: [&c.name],
            namespaces: if with_namespaces { namespaces(c) } else { json!({}) },
            networks: networks(c, false),
            pid: if c.status.has_process() { c.state.pid } else { 0 },
            pod: &c.pod,
            pod_name: self.pod_name(c),
            ports: (),
            restarts: c.state.restarts,
            size: size.map(|size| json!({"rootFsSize": size.all, "rwSize": size.own})),
            started_at: seconds(&c.state.started_at),
            state: c.status.name(),
            status: status(c, false),
            created: seconds(&c.created),
        }
    }

    /// The line that Docker prints as json.
    pub(super) fn docker_document(&self, c: &Listed, with_size: bool) -> Value {
        json!({
            "Command": self.command(c), "CreatedAt": go_time(&c.created),
            "ID": if self.no_trunc { c.id.as_str() } else { c.short_id() }, "Image": self.image_name(c),
            "Labels": joined(&c.labels), "LocalVolumes": local_volumes(c).to_string(), "Mounts": self.mounts(c).join(","),
            "Names": c.name, "Networks": networks(c, true).join(","), "Platform": null, "Ports": "",
            "RunningFor": ago(&c.created), "Size": if with_size { self.size_text(c) } else { "0B".into() },
            "State": c.status.name(), "Status": status(c, true),
        })
    }
}

/// How many volumes it has.
fn local_volumes(c: &Listed) -> usize {
    c.volumes.iter().filter(|volume| volume.volume.is_some()).count()
}

/// A container as Podman's json has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document<'c> {
    auto_remove: bool,
    #[serde(rename = "CIDFile")]
    cid_file: &'static str,
    command: &'c [String],
    created_at: String,
    exited: bool,
    exited_at: i64,
    exit_code: i32,
    /// Null: no container has any.
    exposed_ports: (),
    id: &'c str,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: &'c str,
    is_infra: bool,
    labels: Option<&'c BTreeMap<String, String>>,
    mounts: Vec<String>,
    names: [&'c str; 1],
    namespaces: Value,
    networks: Vec<String>,
    pid: i32,
    pod: &'c str,
    pod_name: String,
    /// Null.
    ports: (),
    restarts: u32,
    size: Option<Value>,
    started_at: i64,
    state: &'static str,
    status: String,
    created: i64,
}

/// Seconds since 1970.
fn seconds(moment: &str) -> i64 {
    moment.parse().map_or(NEVER, jiff::Timestamp::as_second)
}

/// Podman counts none and the host's for no network.
fn networks(c: &Listed, docker: bool) -> Vec<String> {
    if docker { vec![c.network.name()] } else { Vec::new() }
}

/// The number of a namespace of its first process; nothing of one that does not run.
fn namespace(c: &Listed, file: &str) -> String {
    if !c.status.has_process() {
        return String::new();
    }
    let link = std::fs::read_link(format!("/proc/{}/ns/{file}", c.state.pid)).unwrap_or_default();
    let text = link.to_string_lossy();
    text.split_once('[').map(|(_, number)| number.trim_end_matches(']').to_owned()).unwrap_or_default()
}

/// As Podman's document has them.
fn namespaces(c: &Listed) -> Value {
    let mut all = Map::new();
    for (_, file) in NAMESPACES {
        let number = namespace(c, file);
        if !number.is_empty() {
            let name = match file {
                "mnt" => "Mnt".to_owned(),
                "net" => "Net".to_owned(),
                "cgroup" => "Cgroup".to_owned(),
                "ipc" => "Ipc".to_owned(),
                "pid" => "Pidns".to_owned(),
                "user" => "User".to_owned(),
                _ => "Uts".to_owned(),
            };
            all.insert(name, number.into());
        }
    }
    all.into()
}

pub(super) fn status(c: &Listed, docker: bool) -> String {
    let since = |moment: &str| human_duration(seconds_since(moment).unwrap_or(0));
    match c.status {
        Status::Created => "Created".into(),
        Status::Initialized => "Initialized".into(),
        Status::Running => {
            // Docker's form, which Podman has, too.
            let health = c.health.map(|health| format!(" ({})", health.name())).unwrap_or_default();
            format!("Up {}{health}", since(&c.state.started_at))
        }
        Status::Stopping => "Stopping".into(),
        Status::Paused if !docker => "Paused".into(),
        Status::Paused => format!("Up {} (Paused)", since(&c.state.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", c.state.exit_code, since(&c.state.finished_at))
        }
        Status::Exited if c.state.finished_at.is_empty() => format!("Exited ({})", c.state.exit_code),
        Status::Exited => format!("Exited ({}) {} ago", c.state.exit_code, since(&c.state.finished_at)),
        Status::Unknown => "Unknown".into(),
    }
}
