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

/// `container:NAME` and `ns:PATH`.
pub(super) fn other(flag: &str, text: &str, forms: &str) -> Result<Namespace, Error> {
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

/// Whether `--userns` says so: then its program runs as root if nobody says who.
pub(in crate::commands) fn keeps_id(text: Option<&str>) -> bool {
    text.is_some_and(|text| text == "keep-id" || text.starts_with("keep-id:"))
}

/// Whether a namespace can be looked for there.
pub(in crate::commands) fn check_path(path: &str) -> bool {
    Path::new(path).components().next() == Some(Component::RootDir)
}
