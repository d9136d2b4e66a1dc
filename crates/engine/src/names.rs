//! Names and ids of containers. A name is a link in `names/`, so that taking one is a single system call that fails when
//! it is taken.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// Seeds and what carries them, for containers without a name.
const FIRST: [&str; 48] = [
    "amber", "basal", "brisk", "bronze", "calm", "clear", "cobalt", "coiled", "copper", "crisp", "damp",
    "deep", "downy", "dusky", "early", "fallow", "fern", "fresh", "glossy", "golden", "hardy", "hazel",
    "hollow", "ivory", "jade", "keen", "late", "light", "mellow", "mild", "mossy", "nimble", "olive", "pale",
    "plain", "quick", "quiet", "ripe", "rosy", "russet", "sandy", "silver", "spry", "still", "sunny",
    "tawny", "velvet", "windy",
];
const SECOND: [&str; 48] = [
    "acorn", "alder", "aspen", "barley", "beech", "birch", "bracken", "briar", "cedar", "clover", "cornel",
    "cowslip", "cress", "dill", "elder", "fennel", "flax", "foxglove", "furze", "gorse", "hazelnut",
    "heather", "hemp", "hornbeam", "juniper", "larch", "lentil", "linden", "lotus", "lupin", "mallow",
    "maple", "medlar", "millet", "mint", "myrtle", "nettle", "oat", "pea", "poppy", "quince", "rowan", "rye",
    "sedge", "sorrel", "tansy", "thyme", "vetch",
];

fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

pub(crate) use loment_monitor::state::new_id;

fn suggestion() -> io::Result<String> {
    let mut bytes = [0; 4];
    random(&mut bytes)?;
    let pick =
        |list: &[&'static str], a: u8, b: u8| list[usize::from(u16::from_le_bytes([a, b])) % list.len()];
    Ok(format!("{}_{}", pick(&FIRST, bytes[0], bytes[1]), pick(&SECOND, bytes[2], bytes[3])))
}

/// Checks a container's name as Podman and Docker do.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    check_name_of("container name", name)
}

/// The same of something else.
pub(crate) fn check_name_of(what: &'static str, name: &str) -> Result<(), Error> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 255 && name.bytes().all(ok) {
        return Ok(());
    }
    Err(invalid(what, name, "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*"))
}

/// The error of who makes a container.
pub(crate) fn name_in_use(name: &str, id: String) -> Error {
    let (operation, hint) = ("creating container storage", ", or use --replace to have that done");
    Error::NameInUse { operation, name: name.to_owned(), id, hint }
}

/// The same error of who does something else with a name.
pub(crate) fn while_doing(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::NameInUse { name, id, .. } => Error::NameInUse { operation, name, id, hint: "" },
        other => other,
    }
}

/// The links in `names/`.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) PathBuf);

impl Names {
    fn link(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The id behind a name.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        check(name).ok()?;
        std::fs::read_link(self.link(name)).ok()?.to_str().map(str::to_owned)
    }

    /// The name of each id that has one. For when the containers themselves do not say.
    pub(crate) fn all(&self) -> HashMap<String, String> {
        self.links().collect()
    }

    /// Ids and names. An id has two while it gets another name, and after who was giving it that was killed.
    fn links(&self) -> impl Iterator<Item = (String, String)> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let of = |entry: std::fs::DirEntry| {
            let id = std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned();
            Some((id, entry.file_name().into_string().ok()?))
        };
        entries.filter_map(of)
    }

    /// Takes `name`, or one of our own choice. `is_stale` tells whether the container of an id is none: half made by a
    /// program that was killed.
    pub(crate) fn take(
        &self,
        name: Option<&str>,
        id: &str,
        is_stale: impl Fn(&str) -> bool,
    ) -> Result<String, Error> {
        if let Some(name) = name {
            check(name)?;
            let mut linked = self.link_to(name, id);
            if matches!(&linked, Err(e) if e.kind() == io::ErrorKind::AlreadyExists)
                && let Some(other) = self.id(name).filter(|other| is_stale(other))
            {
                self.release(name, &other);
                linked = self.link_to(name, id);
            }
            return match linked {
                // Whoever took it for the same was killed before it was done.
                Err(e)
                    if e.kind() == io::ErrorKind::AlreadyExists && self.id(name).as_deref() == Some(id) =>
                {
                    Ok(name.to_owned())
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    Err(name_in_use(name, self.id(name).unwrap_or_default()))
                }
                other => other.context("take the name", name).map(|()| name.to_owned()),
            };
        }
        for _ in 0..64 {
            let name = suggestion().context("choose", "a name")?;
            match self.link_to(&name, id) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.context("take the name", &name).map(|()| name),
            }
        }
        // Thousands of containers: the id is unique.
        let name = format!("{}_{}", suggestion().context("choose", "a name")?, &id[..12]);
        self.link_to(&name, id).context("take the name", &name)?;
        Ok(name)
    }

    fn link_to(&self, name: &str, id: &str) -> io::Result<()> {
        let link = self.link(name);
        match std::os::unix::fs::symlink(id, &link) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.0)?;
                std::os::unix::fs::symlink(id, &link)
            }
            other => other,
        }
    }

    /// Gives a name back, if it is still that container's.
    pub(crate) fn release(&self, name: &str, id: &str) {
        if self.id(name).as_deref() == Some(id) {
            // One that is gone is what was wanted.
            let _ = std::fs::remove_file(self.link(name));
        }
    }
}

impl Engine {
    /// Takes a name for a new container or pod, or for one that is renamed under its lock.
    pub(crate) fn take_name(&self, wanted: Option<&str>, id: &str) -> Result<String, Error> {
        let is_stale =
            |other: &str| self.is_nobody(other) || wanted.is_some_and(|name| self.lost(name, other));
        self.names().take(wanted, id, is_stale)
    }

    /// Whether a container has another name, and keeps this one only because who renamed it was killed.
    fn lost(&self, name: &str, id: &str) -> bool {
        // Who renames it has its lock.
        let lock = File::open(self.dir(id)).ok().filter(|dir| dir.try_lock().is_ok());
        lock.is_some() && matches!(self.load(id), Ok(Some(now)) if now.config.name != name)
    }

    /// Gives back names that nobody has, because whoever took or left them was killed.
    pub(crate) fn sweep_names(&self) {
        for (id, name) in self.names().links() {
            if self.is_nobody(&id) || self.lost(&name, &id) {
                self.names().release(&name, &id);
            }
        }
    }
}

/// Ids (directory names) in `dir` that begin with `prefix`.
pub(crate) fn ids_with_prefix(dir: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|n| n.len() == 64 && n.starts_with(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names(dir.path().join("names"));
        let id = new_id().unwrap();
        let lives = |_: &str| false;
        assert_eq!(names.take(Some("web"), &id, lives).unwrap(), "web");
        assert!(matches!(names.take(Some("web"), "other", lives), Err(Error::NameInUse { .. })));
        assert_eq!(names.id("web"), Some(id.clone()));
        assert!(names.take(None, &id, lives).unwrap().contains('_'));
        for bad in ["", "-a", "a/b", "..", "ü", "a b"] {
            assert!(names.take(Some(bad), &id, lives).is_err(), "{bad:?}");
        }
        names.release("web", "other");
        assert_eq!(names.id("web"), Some(id.clone()));
        assert_eq!(names.take(Some("web"), "third", |_| true).unwrap(), "web");
        names.release("web", "third");
        assert_eq!(names.id("web"), None);
    }
}
