//! Descriptions of devices that are more than a node: the Container Device Interface (cncf-tags/container-device-interface, SPEC.md).
//!
//! Each file describes devices of one kind, `vendor.com/class`: what a container needs to use each of them, and any of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value as Json};

use super::error::ConfError;
use super::registries::File;
use crate::yaml::{self, Node, Value};

/// No file describes more devices.
const MAX_DEVICES: usize = 4096;

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceFile {
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: Json,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Device {
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: Json,
    #[serde(default)]
    container_edits: Edits,
}

/// What a container that has a device gets.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    /// `NAME=VALUE`
    pub env: Vec<String>,
    /// Nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Interfaces of the network: names on the host, and names inside.
    pub net_devices: Vec<NetDevice>,
    /// Files and directories of the host.
    pub mounts: Vec<DeviceMount>,
    /// Programs of the host's.
    pub hooks: Vec<DeviceHook>,
    /// As a specification has it (config-linux.md, "IntelRdt").
    pub intel_rdt: Option<Json>,
    /// Groups of its programs.
    pub additional_gids: Vec<u32>,
}

/// A node of a device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// On the host, if that is another.
    pub host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`, if it is not to be looked up there.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its number, likewise.
    pub major: Option<i64>,
    /// Its other number.
    pub minor: Option<i64>,
    /// Its mode.
    pub file_mode: Option<u32>,
    /// What may be done with it: of `rwm`.
    pub permissions: Option<String>,
    /// Whose it is.
    pub uid: Option<u32>,
    /// The group whose it is.
    pub gid: Option<u32>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetDevice {
    /// On the host.
    pub host_interface_name: String,
    /// In the container.
    pub name: String,
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceMount {
    /// On the host.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: PathBuf,
    /// As mount(8) has them.
    #[serde(default)]
    pub options: Vec<String>,
    /// The kind of file system, if it is none of the host's.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// A program that is run at a stage of a container's life.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceHook {
    /// The stage, as a specification calls it.
    pub hook_name: String,
    /// Absolute.
    pub path: PathBuf,
    /// With its name.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=VALUE`
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds.
    #[serde(default)]
    pub timeout: Option<i64>,
}

/// Names that are numbers are written as numbers, too.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Json::deserialize(deserializer)? {
        Json::String(text) => Ok(text),
        Json::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("{other} is no name"))),
    }
}

impl DeviceFile {
    /// Reads one: JSON if its name ends so, and else YAML.
    ///
    /// # Errors
    /// [`ConfError`] says what is wrong with it.
    pub fn parse(file: File<'_>) -> Result<Self, ConfError> {
        let wrong = |problem: String| ConfError::content(file.name, &problem);
        let parsed: Self = if file.name.ends_with(".json") {
            serde_json::from_str(file.text).map_err(|e| wrong(e.to_string()))?
        } else {
            let top = yaml::parse(file)?.ok_or_else(|| wrong("it is empty".into()))?;
            serde_json::from_value(json(top)).map_err(|e| wrong(e.to_string()))?
        };
        let major = parsed.cdi_version.trim_start_matches('v').split('.').next().unwrap_or_default();
        if !matches!(major, "0" | "1") {
            let version = &parsed.cdi_version;
            return Err(wrong(format!("version {version:?} is not known: 0.3.0 to 1.x are")));
        }
        if !is_kind(&parsed.kind) {
            return Err(wrong(format!("invalid kind {:?}: use VENDOR/CLASS", parsed.kind)));
        }
        if parsed.devices.len() > MAX_DEVICES {
            return Err(wrong(format!("more than {MAX_DEVICES} devices")));
        }
        let mut names = BTreeMap::new();
        for device in &parsed.devices {
            if !is_name(&device.name) {
                return Err(wrong(format!("invalid name of a device: {:?}", device.name)));
            }
            if names.insert(&device.name, ()).is_some() {
                return Err(wrong(format!("device {:?} is described twice", device.name)));
            }
        }
        for edits in
            parsed.devices.iter().map(|device| &device.container_edits).chain([&parsed.container_edits])
        {
            edits.check().map_err(wrong)?;
        }
        Ok(parsed)
    }

    /// `VENDOR/CLASS=NAME` of each device.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.devices.iter().map(|device| format!("{}={}", self.kind, device.name))
    }

    /// What a container gets for a device by its whole name.
    pub fn device(&self, whole: &str) -> Option<&Edits> {
        let name = whole.strip_prefix(self.kind.as_str())?.strip_prefix('=')?;
        self.devices.iter().find(|device| device.name == name).map(|device| &device.container_edits)
    }

    /// What it gets for any of them.
    pub fn of_all(&self) -> &Edits {
        &self.container_edits
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        const STAGES: [&str; 6] =
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        for entry in &self.env {
            if entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
                return Err(format!("invalid variable {entry:?}: use NAME=VALUE"));
            }
        }
        for node in &self.device_nodes {
            let shown = &node.path;
            if !node.path.is_absolute() || node.host_path.as_ref().is_some_and(|path| !path.is_absolute()) {
                return Err(format!("device node {shown:?}: its paths must be absolute"));
            }
            if let Some(kind) = node.kind.as_deref().filter(|kind| !["b", "c", "u", "p"].contains(kind)) {
                return Err(format!("device node {shown:?}: invalid type {kind:?}"));
            }
            if node.permissions.as_deref().is_some_and(|text| text.chars().any(|c| !"rwm".contains(c))) {
                return Err(format!("device node {shown:?}: use r, w and m for its permissions"));
            }
        }
        for mount in &self.mounts {
            if !mount.container_path.is_absolute() || mount.host_path.as_os_str().is_empty() {
                return Err(format!("mount {:?}: it needs two paths", mount.container_path));
            }
        }
        for hook in &self.hooks {
            if !STAGES.contains(&hook.hook_name.as_str()) {
                return Err(format!("invalid hook {:?}: use one of {}", hook.hook_name, STAGES.join(", ")));
            }
            if !hook.path.is_absolute() {
                return Err(format!("hook {:?}: its path must be absolute", hook.path));
            }
        }
        Ok(())
    }
}

/// Whether this is the whole name of a device: `VENDOR/CLASS=NAME`.
pub fn is_device_name(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| is_kind(kind) && is_name(name))
}

fn is_kind(text: &str) -> bool {
    let is_part = |part: &str, more: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(inner)
    };
    text.split_once('/').is_some_and(|(vendor, class)| is_part(vendor, "._-") && is_part(class, "_-"))
}

fn is_name(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
}

/// A value of YAML as one of JSON; what is written without quotes may be another thing than text (YAML 1.2.2, 10.3.2; octal numbers
/// also as in 1.1, for modes are written so).
fn json(node: Node) -> Json {
    match node.value {
        Value::Text { text, plain: true } => plain(&text).unwrap_or(Json::String(text)),
        Value::Text { text, .. } => Json::String(text),
        Value::List(items) => Json::Array(items.into_iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.into_iter().map(|(key, node)| (key, json(node))).collect::<Map<_, _>>())
        }
    }
}

fn plain(text: &str) -> Option<Json> {
    let number =
        |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(|n| Json::Number(n.into()));
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Json::Null),
        "true" | "True" | "TRUE" => return Some(true.into()),
        "false" | "False" | "FALSE" => return Some(false.into()),
        _ => {}
    }
    let is_octal = text.len() > 1 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if let Some(digits) = text.strip_prefix("0x") {
        return number(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o").or(text.strip_prefix('0').filter(|_| is_octal)) {
        return number(digits, 8);
    }
    let is_number = text.strip_prefix(['-', '+']).unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    if !is_number {
        return None;
    }
    number(text, 10).or_else(|| text.parse().ok().and_then(Number::from_f64).map(Json::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<DeviceFile, String> {
        DeviceFile::parse(File { name, text }).map_err(|e| e.to_string())
    }

    const YAML: &str = "---\ncdiVersion: 0.6.0\nkind: vendor.com/net-card\nannotations: {a: b}\ncontainerEdits:\n  env:\n  - ALL=1\n\
                        devices:\n- name: 0\n  containerEdits:\n    deviceNodes:\n    - path: /dev/card0\n      hostPath: /dev/zero\n      fileMode: 0660\n\
      \x20     permissions: rw\n    additionalGids: [7]\n    hooks:\n    - {hookName: createContainer, path: /bin/x, args: [x, \"1\"]}\n- name: all\n";

    #[test]
    fn files_of_both_kinds_are_read() {
        let file = parse("a.yaml", YAML).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["vendor.com/net-card=0", "vendor.com/net-card=all"]);
        let edits = file.device("vendor.com/net-card=0").unwrap();
        let node = &edits.device_nodes[0];
        assert_eq!((node.file_mode, node.host_path.as_deref()), (Some(0o660), Some("/dev/zero".as_ref())));
        assert_eq!((edits.additional_gids.as_slice(), edits.hooks[0].args.len()), (&[7][..], 2));
        assert_eq!(file.device("vendor.com/net-card=all"), Some(&Edits::default()));
        assert_eq!(file.device("vendor.com/net=0"), None);
        assert_eq!(file.of_all().env, ["ALL=1"]);
        let json = r#"{"cdiVersion": "1.0.0", "kind": "v/c", "devices": [{"name": "x", "containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/b"}]}}]}"#;
        assert_eq!(parse("a.json", json).unwrap().device("v/c=x").unwrap().mounts.len(), 1);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, told) in [
            ("", "it is empty"),
            ("kind: v/c\n", "cdiVersion"),
            ("cdiVersion: 2.0.0\nkind: v/c\n", "version \"2.0.0\" is not known"),
            ("cdiVersion: 0.3.0\nkind: v\n", "invalid kind"),
            ("cdiVersion: 0.3.0\nkind: v/c\ndevices: [{name: \"a b\"}]\n", "invalid name"),
            ("cdiVersion: 0.3.0\nkind: v/c\ndevices: [{name: a}, {name: a}]\n", "described twice"),
            ("cdiVersion: 0.3.0\nkind: v/c\ncontainerEdits: {env: [A]}\n", "use NAME=VALUE"),
            ("cdiVersion: 0.3.0\nkind: v/c\ncontainerEdits: {deviceNodes: [{path: a}]}\n", "absolute"),
            (
                "cdiVersion: 0.3.0\nkind: v/c\ncontainerEdits: {hooks: [{hookName: x, path: /a}]}\n",
                "invalid hook",
            ),
            ("cdiVersion: 0.3.0\nkind: v/c\ncontainerEdits: {surprises: []}\n", "surprises"),
            ("cdiVersion: [\n", "line"),
        ] {
            let error = parse("a.yaml", text).unwrap_err();
            assert!(error.starts_with("a.yaml") || error.starts_with("parse a.yaml"), "{error}");
            assert!(error.contains(told), "{error}");
        }
        assert!(parse("a.json", "{").is_err());
    }

    #[test]
    fn names_of_devices_are_told_from_paths() {
        for yes in ["vendor.com/class=name", "nvidia.com/gpu=all", "v/c=0", "a-b.c_d/e-f=1:2.3"] {
            assert!(is_device_name(yes), "{yes}");
        }
        for no in ["/dev/x", "/dev/a=b", "v/c", "v/c=", "v=c", ".v/c=a", "v/c=-a", "1v/c=a", "v/c=a/b"] {
            assert!(!is_device_name(no), "{no}");
        }
    }
}
