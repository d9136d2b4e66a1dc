//! `--volume`, `--mount` and `--tmpfs`: what is mounted in a container.

use std::path::{Component, Path, PathBuf};

use loment_engine::NewVolume;
use loment_engine::config::{FileSystem, OverlayUse, Relabel, Volume, VolumeUse};

use super::{invalid, list, size};
use crate::arguments::boolean;
use crate::error::{Doing, Error};
use crate::persona::Persona;

/// Something that is mounted.
#[derive(Debug)]
pub(in crate::commands) enum Mount {
    /// A directory of the host, or a volume, and how that is made if it is not there.
    Volume(Volume, NewVolume),
    /// The files of the image of that name.
    Image(Volume, String),
    Tmpfs(PathBuf, Vec<String>),
    FileSystem(FileSystem),
}

impl Mount {
    /// Where it is mounted.
    pub(in crate::commands) fn destination(&self) -> &Path {
        match self {
            Self::Volume(volume, _) | Self::Image(volume, _) => &volume.destination,
            Self::Tmpfs(destination, _) => destination,
            Self::FileSystem(one) => &one.destination,
        }
    }
}

/// Options that are the kernel's, or the runtime's.
const PLAIN: [&str; 28] = [
    "ro",
    "rw",
    "rro",
    "rbind",
    "bind",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "noatime",
    "atime",
    "relatime",
    "strictatime",
    "nodiratime",
    "diratime",
    "sync",
    "nosymfollow",
    "symfollow",
];
/// What they mean is about machines in which Docker runs.
const MEANINGLESS: [&str; 3] = ["cached", "consistent", "delegated"];

/// `[SOURCE:]DESTINATION[:OPTIONS]`: a path or the name of a volume; without one, a volume of the container's own.
pub(in crate::commands) fn volume(text: &str, persona: &Persona) -> Result<Volume, Error> {
    fn wrong<T>(text: &str, why: &str) -> Result<T, Error> {
        invalid(format!("invalid value {text:?} for --volume: {why}"))
    }
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    let (source, destination, options) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, destination] => (source, destination, ""),
        [source, destination, options] => (source, destination, options),
        _ => return wrong(text, "use [SOURCE:]DESTINATION[:OPTIONS]"),
    };
    if source.is_empty() && parts.len() > 1 {
        return wrong(text, "its source is empty: leave the colon out for a volume of the container's own");
    }
    if !destination.starts_with('/') {
        return wrong(text, "the destination must be an absolute path");
    }
    let mut volume = Volume { destination: destination.into(), ..Volume::default() };
    match source.starts_with(['/', '.']) {
        true => volume.source = host_path(source, persona.makes_volume_source)?,
        false => volume.volume = Some(VolumeUse { name: named(source)?, ..VolumeUse::default() }),
    }
    for option in options.split(',').filter(|o| !o.is_empty()) {
        if !take_option(&mut volume, option)? {
            return wrong(text, &format!("unknown option {option:?}"));
        }
    }
    check(&volume).or_else(|why| wrong(text, &why))?;
    Ok(volume)
}

/// The name of a volume; empty for one that gets its own.
fn named(name: &str) -> Result<String, Error> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let first = name.bytes().next().is_none_or(|b| b.is_ascii_alphanumeric());
    match first && name.len() <= 255 && name.bytes().all(ok) {
        true => Ok(name.to_owned()),
        false => invalid(format!(
            "invalid volume name {name:?}: names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*, and paths begin with / or ."
        )),
    }
}

fn host_path(source: &str, make: bool) -> Result<PathBuf, Error> {
    let source = std::path::absolute(source).doing(|| format!("find {source}"))?;
    if make && !source.exists() {
        std::fs::create_dir_all(&source).doing(|| format!("create {}", source.display()))?;
    }
    Ok(source)
}

/// `false` for one that is none.
fn take_option(volume: &mut Volume, option: &str) -> Result<bool, Error> {
    let used = || OverlayUse::default();
    match option.split_once('=') {
        Some(("upperdir", path)) => {
            volume.overlay.get_or_insert_with(used).upper = Some(host_path(path, false)?);
        }
        Some(("workdir", path)) => {
            volume.overlay.get_or_insert_with(used).work = Some(host_path(path, false)?);
        }
        Some(("idmap" | "ridmap", _)) => volume.options.push(option.to_owned()),
        Some(_) => return Ok(false),
        None => match option {
            // Labels are for SELinux; where it is off they mean nothing.
            "z" => volume.relabel = Some(Relabel::Shared),
            "Z" => volume.relabel = Some(Relabel::Private),
            "U" => volume.chown = true,
            "O" => drop(volume.overlay.get_or_insert_with(used)),
            "idmap" | "ridmap" => volume.options.push(option.to_owned()),
            "copy" | "nocopy" => match &mut volume.volume {
                Some(named) => named.no_copy = option == "nocopy",
                None => return Ok(false),
            },
            // A volume is no link.
            "no-dereference" if volume.volume.is_some() => {}
            "no-dereference" => volume.options.push("copy-symlink".into()),
            _ if PLAIN.contains(&option) => volume.options.push(option.to_owned()),
            _ => return Ok(MEANINGLESS.contains(&option)),
        },
    }
    Ok(true)
}

/// What cannot be meant together.
fn check(volume: &Volume) -> Result<(), String> {
    let has = |wanted: &str| volume.options.iter().any(|o| o == wanted);
    if has("ro") && has("rw") {
        return Err("options ro and rw exclude each other".into());
    }
    let maps = volume.options.iter().any(|o| o.trim_start_matches('r').starts_with("idmap"));
    if let Some(overlay) = &volume.overlay {
        if overlay.upper.is_some() != overlay.work.is_some() {
            return Err("upperdir and workdir must be given together".into());
        }
        if maps {
            return Err("options O and idmap exclude each other: map the ids of the directory itself".into());
        }
    }
    if maps && volume.subpath.is_some() {
        return Err("idmap and subpath exclude each other".into());
    }
    if let Some(path) = &volume.subpath
        && path.components().any(|c| matches!(c, Component::ParentDir))
    {
        return Err("subpath must be without ..".into());
    }
    Ok(())
}

/// `DESTINATION[:OPTIONS]`
pub(in crate::commands) fn tmpfs(text: &str) -> Result<(PathBuf, Vec<String>), Error> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    if !destination.starts_with('/') {
        return invalid(format!(
            "invalid value {text:?} for --tmpfs: use an absolute path, then options after a colon"
        ));
    }
    Ok((destination.into(), tmpfs_options(options.split(',').filter(|o| !o.is_empty()))))
}

fn tmpfs_options<'o>(options: impl Iterator<Item = &'o str>) -> Vec<String> {
    let mut all: Vec<String> = ["rw", "nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    for option in options {
        match option {
            "notmpcopyup" => all.retain(|o| o != "tmpcopyup"),
            "ro" => all.retain(|o| o != "rw"),
            "suid" => all.retain(|o| o != "nosuid"),
            "dev" => all.retain(|o| o != "nodev"),
            _ => {}
        }
        if option != "notmpcopyup" {
            all.push(option.to_owned());
        }
    }
    all
}

/// A `--mount`, in pairs: what has no value has an empty one.
struct Fields<'t> {
    text: &'t str,
    pairs: Vec<(String, Option<String>)>,
}

impl<'t> Fields<'t> {
    fn read(text: &'t str) -> Self {
        let pair = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
            None => (word.trim().to_owned(), None),
        };
        Self { text, pairs: list(&[text.to_owned()]).into_iter().map(pair).collect() }
    }

    fn wrong<T>(&self, why: &str) -> Result<T, Error> {
        invalid(format!("invalid value {:?} for --mount: {why}", self.text))
    }

    /// Takes the value of one of these keys; the last one counts.
    fn take(&mut self, keys: &[&str]) -> Result<Option<String>, Error> {
        let mut found = None;
        for (key, value) in &self.pairs {
            if keys.contains(&key.as_str()) {
                match value {
                    Some(value) if !value.is_empty() => found = Some(value.clone()),
                    _ => return self.wrong(&format!("{key} needs a value")),
                }
            }
        }
        self.pairs.retain(|(key, _)| !keys.contains(&key.as_str()));
        Ok(found)
    }

    /// Takes a switch: its name alone, or with a value that says whether it is on.
    fn switch(&mut self, keys: &[&str]) -> Result<Option<bool>, Error> {
        let mut found = None;
        for (key, value) in &self.pairs {
            if keys.contains(&key.as_str()) {
                match value.as_deref().map_or(Ok(true), boolean) {
                    Ok(on) => found = Some(on),
                    Err(_) => return self.wrong(&format!("{key} is true or false")),
                }
            }
        }
        self.pairs.retain(|(key, _)| !keys.contains(&key.as_str()));
        Ok(found)
    }

    /// All values of a key.
    fn all(&mut self, key: &str) -> Result<Vec<String>, Error> {
        let of_key = |pair: &&(String, Option<String>)| pair.0 == key;
        let found: Option<Vec<String>> =
            self.pairs.iter().filter(of_key).map(|pair| pair.1.clone()).collect();
        self.pairs.retain(|pair| pair.0 != key);
        found.map_or_else(|| self.wrong(&format!("{key} needs a value")), Ok)
    }

    fn destination(&mut self) -> Result<PathBuf, Error> {
        match self.take(&["destination", "dst", "target"])? {
            Some(path) if path.starts_with('/') => Ok(path.into()),
            Some(path) => self.wrong(&format!("the destination {path} must be an absolute path")),
            // In Podman's words.
            None => invalid("must set volume destination".into()),
        }
    }

    /// What is left, as options.
    fn rest(&self) -> Vec<String> {
        let option = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        };
        self.pairs.iter().map(option).collect()
    }
}

/// `type=TYPE,KEY=VALUE,…`
pub(in crate::commands) fn mount(text: &str) -> Result<Vec<Mount>, Error> {
    let mut fields = Fields::read(text);
    let kind = fields.take(&["type"])?.unwrap_or_else(|| "volume".to_owned());
    match kind.as_str() {
        "bind" => bind(fields).map(|volume| vec![Mount::Volume(volume, NewVolume::default())]),
        "glob" => glob(fields),
        "volume" => named_volume(fields).map(|mount| vec![mount]),
        "image" => image(fields).map(|mount| vec![mount]),
        "tmpfs" => temporary(fields).map(|mount| vec![mount]),
        "ramfs" | "devpts" => file_system(fields, &kind).map(|mount| vec![mount]),
        "artifact" => fields.wrong("artifacts cannot be mounted yet"),
        "npipe" => fields.wrong("npipe is for Windows hosts"),
        "cluster" => fields.wrong("cluster is about volumes of a swarm, and there is none"),
        other => fields.wrong(&format!(
            "invalid filesystem type {other:?}: use bind, devpts, glob, image, ramfs, tmpfs or volume"
        )),
    }
}

/// What directories of the host and volumes have in common.
fn common(fields: &mut Fields<'_>, volume: &mut Volume) -> Result<(), Error> {
    if let Some(spread) = fields.take(&["bind-propagation"])? {
        volume.options.push(spread);
    }
    match fields.take(&["relabel"])?.as_deref() {
        None => {}
        Some("shared") => volume.relabel = Some(Relabel::Shared),
        Some("private") => volume.relabel = Some(Relabel::Private),
        Some(_) => return fields.wrong("relabel is shared or private"),
    }
    match fields.switch(&["readonly", "ro"])? {
        Some(true) => volume.options.push("ro".into()),
        Some(false) => volume.options.push("rw".into()),
        None => {}
    }
    if fields.switch(&["rw"])? == Some(false) {
        volume.options.push("ro".into());
    }
    volume.chown = fields.switch(&["U", "chown"])?.unwrap_or_default();
    // It is about machines in which Docker runs.
    fields.take(&["consistency"])?;
    for option in fields.rest() {
        // A switch of the kernel's may be said to be on.
        let option = option.strip_suffix("=true").unwrap_or(&option);
        if !take_option(volume, option)? {
            return fields.wrong(&format!("unknown key {option:?}"));
        }
    }
    check(volume).or_else(|why| fields.wrong(&why))
}

fn bind(mut fields: Fields<'_>) -> Result<Volume, Error> {
    let destination = fields.destination()?;
    let Some(source) = fields.take(&["source", "src"])? else { return fields.wrong("it needs a source") };
    let make = fields.switch(&["bind-create-src"])?.unwrap_or_default();
    let mut volume = Volume { source: host_path(&source, make)?, destination, ..Volume::default() };
    if fields.switch(&["bind-nonrecursive"])? == Some(true) {
        volume.options.push("bind".into());
    }
    match fields.take(&["bind-recursive"])?.as_deref() {
        None | Some("enabled" | "true" | "1") => {}
        Some("disabled" | "false" | "0") => volume.options.push("bind".into()),
        Some("writable") => volume.options.push("rbind".into()),
        Some("readonly") => volume.options.push("rro".into()),
        Some(_) => return fields.wrong("bind-recursive is enabled, disabled, writable or readonly"),
    }
    if fields.switch(&["no-dereference"])? == Some(true) {
        volume.options.push("copy-symlink".into());
    }
    if let Some(path) = fields.take(&["subpath", "bind-subpath"])? {
        volume.subpath = Some(path.into());
    }
    common(&mut fields, &mut volume)?;
    Ok(volume)
}

/// All files whose paths fit a pattern, in a directory or, without one, where they are on the host.
fn glob(mut fields: Fields<'_>) -> Result<Vec<Mount>, Error> {
    let Some(pattern) = fields.take(&["source", "src"])? else { return fields.wrong("it needs a source") };
    let directory = fields.take(&["destination", "dst", "target"])?;
    if directory.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return fields.wrong("the destination must be an absolute path");
    }
    let mut model = Volume::default();
    common(&mut fields, &mut model)?;
    let found = loment_engine::paths_like(&host_path(&pattern, false)?);
    if found.is_empty() {
        // In Podman's words.
        return invalid(format!("no file paths matching glob {pattern:?}"));
    }
    let mount = |source: PathBuf| {
        let name = source.file_name().unwrap_or_default();
        let destination = directory.as_ref().map_or_else(|| source.clone(), |dir| Path::new(dir).join(name));
        Mount::Volume(Volume { source, destination, ..model.clone() }, NewVolume::default())
    };
    Ok(found.into_iter().map(mount).collect())
}

fn named_volume(mut fields: Fields<'_>) -> Result<Mount, Error> {
    let destination = fields.destination()?;
    let name = named(&fields.take(&["source", "src"])?.unwrap_or_default())?;
    let driver = fields.take(&["volume-driver"])?.unwrap_or_default();
    let options = super::pairs("mount", &fields.all("volume-opt")?)?;
    let labels = super::pairs("mount", &fields.all("volume-label")?)?;
    let no_copy = fields.switch(&["volume-nocopy"])?.unwrap_or_default();
    let subpath = fields.take(&["volume-subpath", "subpath"])?.map(PathBuf::from);
    let used = VolumeUse { name, no_copy, ..VolumeUse::default() };
    let mut volume = Volume { destination, volume: Some(used), subpath, ..Volume::default() };
    common(&mut fields, &mut volume)?;
    Ok(Mount::Volume(volume, NewVolume { driver, options, labels, ..NewVolume::default() }))
}

fn image(mut fields: Fields<'_>) -> Result<Mount, Error> {
    let destination = fields.destination()?;
    let Some(image) = fields.take(&["source", "src"])? else { return fields.wrong("it needs a source") };
    let writable = fields.switch(&["rw", "readwrite"])?.unwrap_or_default();
    let subpath = fields.take(&["subpath", "image-subpath"])?.map(PathBuf::from);
    let options = vec![if writable { "rw" } else { "ro" }.to_owned()];
    let volume = Volume { destination, subpath, options, ..Volume::default() };
    if let Some(option) = fields.rest().first() {
        return fields.wrong(&format!("unknown key {option:?}"));
    }
    check(&volume).or_else(|why| fields.wrong(&why))?;
    Ok(Mount::Image(volume, image))
}

fn temporary(mut fields: Fields<'_>) -> Result<Mount, Error> {
    let destination = fields.destination()?;
    let mut options = Vec::new();
    if let Some(text) = fields.take(&["tmpfs-size", "size"])? {
        // The kernel knows percents itself.
        let bytes = if text.ends_with('%') { text } else { size("mount", &text)?.to_string() };
        options.push(format!("size={bytes}"));
    }
    if let Some(mode) = fields.take(&["tmpfs-mode", "mode"])? {
        options.push(format!("mode={mode}"));
    }
    if let Some(read_only) = fields.switch(&["readonly", "ro"])? {
        options.push(if read_only { "ro" } else { "rw" }.to_owned());
    }
    fields.take(&["consistency"])?;
    for option in fields.rest() {
        let (key, value) = option.split_once('=').unwrap_or((&option, ""));
        match key {
            "tmpcopyup" | "notmpcopyup" | "noswap" | "uid" | "gid" | "nr_inodes" => {
                options.push(option.clone())
            }
            key if PLAIN.contains(&key) && ["", "true"].contains(&value) => options.push(key.to_owned()),
            key if ["U", "chown"].contains(&key) => {
                return fields.wrong("a tmpfs has the owner that uid and gid say");
            }
            _ => return fields.wrong(&format!("unknown key {option:?}")),
        }
    }
    Ok(Mount::Tmpfs(destination, tmpfs_options(options.iter().map(String::as_str))))
}

/// A file system that is empty each time.
fn file_system(mut fields: Fields<'_>, kind: &str) -> Result<Mount, Error> {
    let destination = fields.destination()?;
    let own: &[&str] = if kind == "ramfs" { &["mode"] } else { &["uid", "gid", "mode", "max", "ptmxmode"] };
    let defaults: &[&str] = match kind {
        "ramfs" => &["nosuid", "nodev"],
        _ => &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    };
    let mut options: Vec<String> = defaults.iter().map(|&o| o.to_owned()).collect();
    if let Some(mode) = fields.take(&["tmpfs-mode"])? {
        fields.pairs.push(("mode".into(), Some(mode)));
    }
    if fields.switch(&["readonly", "ro"])? == Some(true) {
        options.push("ro".into());
    }
    for option in fields.rest() {
        let key = option.split('=').next().unwrap_or_default();
        if own.contains(&key) {
            options.retain(|other| !other.starts_with(&format!("{key}=")));
        } else if !PLAIN.contains(&option.as_str()) {
            return fields.wrong(&format!("unknown key {option:?}"));
        }
        options.push(option);
    }
    Ok(Mount::FileSystem(FileSystem { kind: kind.to_owned(), destination, options }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Mount {
        mount(text).unwrap().pop().unwrap()
    }

    #[test]
    fn volumes_are_read_or_refused_by_name() {
        let loment = Persona::of("loment");
        let v = volume("/a:/b:ro,Z", loment).unwrap();
        assert_eq!((v.destination, v.options), ("/b".into(), vec!["ro".to_owned()]));
        assert_eq!((v.relabel, v.volume), (Some(Relabel::Private), None));
        let v = volume("data:/b:nocopy,U", loment).unwrap();
        assert_eq!(v.volume.as_ref().map(|v| (v.name.as_str(), v.no_copy)), Some(("data", true)));
        assert!(v.chown);
        assert_eq!(volume("/b", loment).unwrap().volume, Some(VolumeUse::default()));
        assert!(volume("/a:/b:O", loment).unwrap().overlay.is_some());
        for bad in [
            "",
            "a",
            ":/b",
            "/a:b",
            "/a:/b:foo",
            "/a:/b:ro,rw",
            "/a:/b:nocopy",
            "-x:/b",
            "a/b:/c",
            "v:",
            "/a:/b:O,upperdir=/u",
            "/a:/b:O,idmap",
        ] {
            assert!(volume(bad, loment).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_have_the_keys_of_both_peers() {
        let Mount::Volume(v, new) =
            one("type=volume,src=v,target=/d,readonly,volume-subpath=a/b,volume-opt=type=tmpfs")
        else {
            panic!("a volume")
        };
        assert_eq!((v.options, v.subpath), (vec!["ro".to_owned()], Some("a/b".into())));
        assert_eq!(new.options.get("type").map(String::as_str), Some("tmpfs"));
        let Mount::Volume(v, _) =
            one("type=bind,\"src=/a,b\",dst=/d,ro=false,bind-propagation=rslave,relabel=shared")
        else {
            panic!("a directory")
        };
        assert_eq!((v.source, v.options), ("/a,b".into(), vec!["rslave".to_owned(), "rw".to_owned()]));
        assert_eq!(v.relabel, Some(Relabel::Shared));
        let Mount::Tmpfs(_, options) = one("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777,notmpcopyup")
        else {
            panic!("a tmpfs")
        };
        assert_eq!(options, ["rw", "nosuid", "nodev", "size=1048576", "mode=1777"]);
        assert!(matches!(one("dst=/d"), Mount::Volume(Volume { volume: Some(_), .. }, _)));
        assert!(matches!(one("type=image,src=i,dst=/d,rw=true"), Mount::Image(..)));
        assert!(matches!(one("type=devpts,dst=/d,uid=5"), Mount::FileSystem(_)));
        for bad in [
            "type=bind,src=/a",
            "type=bind,dst=/d",
            "type=bind,src=/a,dst=d",
            "type=bind,src=/a,dst=/d,foo",
            "type=volume,src=/a,dst=/d",
            "type=volume,src=v,dst=/d,volume-subpath=../x",
            "type=x,dst=/d",
            "type=tmpfs,dst=/d,src=/a",
            "type=ramfs,dst=/d,size=1",
            "type=bind,src=,dst=/d",
            "type=cluster,dst=/d",
            "type=bind,src=/a,dst=/d,readonly=maybe",
            "type=image,dst=/d",
        ] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }
}
