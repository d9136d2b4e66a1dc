//! Whose namespaces a container is in.

use std::path::{Component, Path};

use loment_engine::config::Namespace;

use crate::error::Error;

/// `private`, `host`, `container:NAME`, `ns:PATH`; for a container its name, for which the engine puts the id.
pub(in crate::commands) fn mode(flag: &str, text: Option<&str>) -> Result<Namespace, Error> {
    let text = text.unwrap_or_default();
    match text {
        "" | "private" => Ok(Namespace::Own),
        "host" => Ok(Namespace::Host),
        "pod" => Err(Error::Invalid(format!("--{flag} pod is for containers in a pod: add --pod NAME"))),
        _ => other(flag, text, "private, host, container:NAME or ns:PATH"),
    }
}

/// The same of [`mode`], and whether others may share it.
pub(in crate::commands) fn ipc(text: Option<&str>) -> Result<Namespace, Error> {
    match text {
        Some("shareable") => Ok(Namespace::Own),
        Some("private") => Ok(Namespace::Private),
        Some("none") => Ok(Namespace::None),
        text => mode("ipc", text),
    }
}

/// Whose users. `mapped`: other flags say who they are.
pub(in crate::commands) fn users(text: Option<&str>, mapped: bool) -> Result<Namespace, Error> {
    let text = text.unwrap_or_default();
    let word = text.split_once(':').map_or(text, |(word, _)| word);
    match (word, mapped) {
        ("" | "private", true) | ("" | "host", false) => Ok(Namespace::Own),
        ("private", false) => Err(Error::Invalid(
            "--userns private needs to know who the users are: add --uidmap or --subuidname".into(),
        )),
        // Root's own users are those of the host, as with Podman.
        ("keep-id", false) => Ok(Namespace::Own),
        ("ns", false) if is_own_users(&text[word.len()..]) => Ok(Namespace::Own),
        ("ns", _) => Err(Error::Invalid(format!(
            "--userns {text} is not supported yet: only the user namespace of this command itself is"
        ))),
        ("auto", _) => Err(Error::Invalid("--userns auto is not supported yet: use --uidmap".into())),
        // Podman's words.
        ("nomap", _) => Err(Error::Invalid("nomap is only supported in rootless mode".into())),
        (_, true) => Err(Error::Invalid(format!(
            "--userns {text} excludes --uidmap, --gidmap, --subuidname and --subgidname: leave them out"
        ))),
        _ => other("userns", text, "host, container:NAME or private"),
    }
}

/// `container:NAME` and `ns:PATH`.
fn other(flag: &str, text: &str, forms: &str) -> Result<Namespace, Error> {
    match text.split_once(':') {
        Some(("container", name)) if !name.is_empty() => Ok(Namespace::Container(name.to_owned())),
        Some(("ns", path)) => match check_path(path) {
            true => Ok(Namespace::Path(path.into())),
            false => {
                Err(Error::Invalid(format!("invalid value {text:?} for --{flag}: its path must be absolute")))
            }
        },
        _ => Err(Error::Invalid(format!("invalid value {text:?} for --{flag}: use {forms}"))),
    }
}

/// Whether `:PATH` is the user namespace that this program is in.
fn is_own_users(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |path: &str| std::fs::metadata(path).ok().map(|there| (there.dev(), there.ino()));
    number(path.trim_start_matches(':')).is_some_and(|there| number("/proc/self/ns/user") == Some(there))
}

/// Whether `--userns` says so: then its program runs as root if nobody says who.
pub(in crate::commands) fn keeps_id(text: Option<&str>) -> bool {
    text.is_some_and(|text| text == "keep-id" || text.starts_with("keep-id:"))
}

/// Whether a namespace can be looked for there.
pub(in crate::commands) fn check_path(path: &str) -> bool {
    Path::new(path).components().next() == Some(Component::RootDir)
}
