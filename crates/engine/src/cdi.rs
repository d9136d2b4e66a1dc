//! Devices that are described in files (CDI): what a container that has one gets, looked up each time it starts, for descriptions change
//! with drivers and with each boot.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use loment_image::conf::{ConfError, DeviceFile, DeviceMount, DeviceNode, Edits, File};
use serde_json::{Value, json};

use crate::Error;
use crate::config::Devices;
use crate::config_dirs::{self, Text};
use crate::error::{Context, invalid};

/// Where descriptions are if nothing else is said, the most important directory last.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A device, where it is described.
struct Known<'f> {
    file: usize,
    /// The directory, by its number: the last counts.
    rank: usize,
    edits: &'f Edits,
    /// Another file of the same directory that describes it.
    twice: Option<usize>,
}

/// Adds to a specification what the devices of a container need; returns further groups of its programs.
///
/// # Errors
/// [`Error::Invalid`] for a device that nobody describes, with what is wrong with files that might.
pub(crate) fn inject(devices: &Devices, spec: &mut Value) -> Result<Vec<String>, Error> {
    if devices.described.is_empty() {
        return Ok(Vec::new());
    }
    let directories: Vec<PathBuf> = match &devices.descriptions {
        Some(directories) => directories.clone(),
        None => DIRECTORIES.map(PathBuf::from).to_vec(),
    };
    let texts = config_dirs::read(&directories, &["json", "yaml"])?;
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    for Text { directory, path, text } in &texts {
        match DeviceFile::parse(File { name: path, text }) {
            Ok(file) => files.push((*directory, path, file)),
            Err(error) => wrong.push(error),
        }
    }
    let known = known(&files);
    let mut groups = BTreeSet::new();
    let mut of_all = BTreeSet::new();
    for name in &devices.described {
        let device = known.get(name).ok_or_else(|| nobody(name, &directories, &wrong))?;
        if let Some(other) = device.twice {
            let hint = format!("it is described in both {} and {}", files[device.file].1, files[other].1);
            return Err(invalid("device", name, hint));
        }
        if of_all.insert(device.file) {
            apply(files[device.file].2.of_all(), spec, &mut groups)?;
        }
        apply(device.edits, spec, &mut groups)?;
    }
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.sort_by_key(|mount| {
            mount["destination"].as_str().map_or(0, |path| Path::new(path).components().count())
        });
    }
    Ok(groups.into_iter().map(|group| group.to_string()).collect())
}

fn known<'f>(files: &'f [(usize, &String, DeviceFile)]) -> BTreeMap<String, Known<'f>> {
    let mut all: BTreeMap<String, Known<'f>> = BTreeMap::new();
    for (number, (rank, _, file)) in files.iter().enumerate() {
        for name in file.names() {
            let Some(edits) = file.device(&name) else { continue };
            match all.get_mut(&name) {
                Some(other) if other.rank == *rank => other.twice = Some(number),
                _ => drop(all.insert(name, Known { file: number, rank: *rank, edits, twice: None })),
            }
        }
    }
    all
}

fn nobody(name: &str, directories: &[PathBuf], wrong: &[ConfError]) -> Error {
    let places: Vec<_> = directories.iter().map(|dir| dir.display().to_string()).collect();
    let mut hint = format!("no file in {} describes it", places.join(" or "));
    for error in wrong {
        hint = format!("{hint}; {error}");
    }
    invalid("device", name, hint)
}

fn apply(edits: &Edits, spec: &mut Value, groups: &mut BTreeSet<u32>) -> Result<(), Error> {
    for entry in &edits.env {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let list = list(&mut spec["process"]["env"]);
        list.retain(|other| other.as_str().is_none_or(|other| name(other) != name(entry)));
        list.push(json!(entry));
    }
    for device in &edits.device_nodes {
        node(device, spec)?;
    }
    for device in &edits.net_devices {
        spec["linux"]["netDevices"][&device.host_interface_name] = json!({"name": device.name});
    }
    for DeviceMount { host_path, container_path, options, kind } in &edits.mounts {
        let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
        let mut options = options.clone();
        if kind.is_none() && !is_bind {
            options.push("bind".into());
        }
        let list = list(&mut spec["mounts"]);
        list.retain(|other| other["destination"] != json!(container_path));
        let kind = kind.as_deref().unwrap_or("bind");
        list.push(
            json!({"destination": container_path, "source": host_path, "type": kind, "options": options}),
        );
    }
    for hook in &edits.hooks {
        add_hook(spec, &hook.hook_name, (&hook.path, &hook.args, &hook.env), hook.timeout);
    }
    if let Some(rdt) = &edits.intel_rdt {
        spec["linux"]["intelRdt"] = rdt.clone();
    }
    groups.extend(edits.additional_gids.iter().filter(|&&gid| gid != 0));
    Ok(())
}

/// What a variable of hooks that have none is: this one's environment is its caller's, and a monitor has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Adds a hook to a specification.
pub(crate) fn add_hook(
    spec: &mut Value,
    stage: &str,
    (path, args, env): (&Path, &[String], &[String]),
    timeout: Option<i64>,
) {
    let mut hook = json!({"path": path, "args": args});
    // That of a hook in the container is that of its program.
    if !env.is_empty() {
        hook["env"] = json!(env);
    } else if stage != "startContainer" {
        hook["env"] = json!([PATH]);
    }
    if let Some(seconds) = timeout {
        hook["timeout"] = seconds.into();
    }
    list(&mut spec["hooks"][stage]).push(hook);
}

/// The list that a value is made if it is none.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it has just been made one"),
    }
}

fn node(device: &DeviceNode, spec: &mut Value) -> Result<(), Error> {
    let host = device.host_path.as_ref().unwrap_or(&device.path);
    let (mut kind, mut major, mut minor) = (device.kind.clone(), device.major, device.minor);
    let is_pipe = |kind: &Option<String>| kind.as_deref() == Some("p");
    if kind.is_none() || (!is_pipe(&kind) && (major.is_none() || minor.is_none())) {
        let meta = std::fs::metadata(host).context("stat", host.display())?;
        let of_file = match meta.file_type() {
            file if file.is_char_device() => "c",
            file if file.is_block_device() => "b",
            file if file.is_fifo() => "p",
            _ => return Err(invalid("device", host.display().to_string(), "it is not a device node")),
        };
        let number = meta.rdev();
        kind = kind.or(Some(of_file.to_owned()));
        major = major.or(Some(rustix::fs::major(number).into()));
        minor = minor.or(Some(rustix::fs::minor(number).into()));
    }
    let mut value = json!({"path": device.path, "type": kind});
    if !is_pipe(&kind) {
        (value["major"], value["minor"]) = (json!(major), json!(minor));
    }
    for (name, number) in [("fileMode", device.file_mode), ("uid", device.uid), ("gid", device.gid)] {
        if let Some(number) = number {
            value[name] = number.into();
        }
    }
    let nodes = list(&mut spec["linux"]["devices"]);
    nodes.retain(|other| other["path"] != value["path"]);
    nodes.push(value);
    if !is_pipe(&kind) {
        let access = device.permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
        let kind = if kind.as_deref() == Some("b") { "b" } else { "c" };
        let rule = json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access});
        list(&mut spec["linux"]["resources"]["devices"]).push(rule);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(dirs: &[&Path], names: &[&str]) -> Devices {
        Devices {
            described: names.iter().map(|&name| name.to_owned()).collect(),
            descriptions: Some(dirs.iter().map(|dir| dir.to_path_buf()).collect()),
            ..Devices::default()
        }
    }

    #[test]
    fn devices_are_added_once_and_the_last_directory_counts() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |value: &str| {
            format!(
                r#"{{"cdiVersion": "0.5.0", "kind": "v/c", "containerEdits": {{"env": ["ALL=1"], "additionalGids": [5, 0]}},
                    "devices": [{{"name": "a", "containerEdits": {{"env": ["A={value}"], "deviceNodes": [{{"path": "/dev/zero"}}]}}}},
                                {{"name": "b", "containerEdits": {{"mounts": [{{"hostPath": "/tmp", "containerPath": "/x"}}],
                                  "hooks": [{{"hookName": "poststop", "path": "/bin/x"}}]}}}}]}}"#
            )
        };
        std::fs::write(one.path().join("a.json"), file("one")).unwrap();
        std::fs::write(two.path().join("b.json"), file("two")).unwrap();
        std::fs::write(two.path().join("c.txt"), "no description").unwrap();
        let mut spec = json!({"process": {"env": ["A=old", "B=b"]}, "mounts": [], "linux": {}});
        let groups = inject(&devices(&[one.path(), two.path()], &["v/c=a", "v/c=b"]), &mut spec).unwrap();
        assert_eq!(groups, ["5"]);
        assert_eq!(spec["process"]["env"], json!(["B=b", "ALL=1", "A=two"]));
        assert_eq!(
            spec["linux"]["devices"],
            json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}])
        );
        assert_eq!(spec["linux"]["resources"]["devices"][0]["access"], "rwm");
        assert_eq!(spec["mounts"][0]["options"], json!(["bind"]));
        assert_eq!(spec["hooks"]["poststop"][0]["env"], json!([PATH]));

        std::fs::write(two.path().join("d.json"), file("again")).unwrap();
        let told = inject(&devices(&[two.path()], &["v/c=a"]), &mut spec).unwrap_err().to_string();
        assert!(told.contains("described in both"), "{told}");
        std::fs::write(one.path().join("bad.yaml"), "kind: [\n").unwrap();
        let told = inject(&devices(&[one.path()], &["v/c=none"]), &mut spec).unwrap_err().to_string();
        assert!(told.contains("no file in") && told.contains("bad.yaml"), "{told}");
        assert_eq!(inject(&devices(&[Path::new("/nowhere")], &[]), &mut spec).unwrap(), [""; 0]);
    }
}
