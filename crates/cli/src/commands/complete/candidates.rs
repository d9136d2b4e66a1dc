//! What a word may become.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use loment_engine::{Glance, PodStatus, Status};
use loment_runtime::CapabilitySet;
use serde_json::Value;

use super::fields;
use super::kinds::Kind;
use super::{FILTER_DIRECTORIES, NO_FILES, NO_SPACE};
use crate::commands::top;
use crate::ecosystem;
use crate::globals::Globals;

/// So many letters of an id are enough to mean it.
const LETTERS_OF_IDS: usize = 2;
/// Sysctls that can be a container's own: below this directory of /proc/sys, with this beginning.
const SYSCTLS: [(&str, &str); 3] = [("net", ""), ("kernel", "msg"), ("fs/mqueue", "")];
const MORE_SYSCTLS: [&str; 8] = [
    "kernel.domainname",
    "kernel.hostname",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.sched_domain",
];

/// What a word may become, and what the shell is to do with that.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Words, with what they are for.
    pub(super) words: Vec<(String, String)>,
    pub(super) directive: u8,
}

impl Candidates {
    pub(super) fn of(words: Vec<(String, String)>, directive: u8) -> Self {
        Self { words, directive }
    }

    /// Those and these. What both leave to the shell is left to it.
    fn and(mut self, mut other: Self) -> Self {
        self.words.append(&mut other.words);
        let files = self.directive & other.directive & NO_FILES;
        let rest = (self.directive | other.directive) & !NO_FILES;
        Self { words: self.words, directive: files | rest }
    }

    fn behind(mut self, prefix: &str) -> Self {
        for (word, _) in &mut self.words {
            word.insert_str(0, prefix);
        }
        self
    }
}

/// Where names are looked up.
pub(super) struct Names<'g> {
    pub(super) globals: &'g Globals,
    /// The command, and its words before this one.
    pub(super) command: &'g str,
    pub(super) words: &'g [&'g str],
    glance: OnceCell<Option<Glance>>,
}

impl<'g> Names<'g> {
    pub(super) fn new(globals: &'g Globals, command: &'g str, words: &'g [&'g str]) -> Self {
        Self { globals, command, words, glance: OnceCell::new() }
    }

    fn glance(&self) -> Option<&Glance> {
        let look = || Glance::at(self.globals.root(), self.globals.runroot());
        self.glance.get_or_init(look).as_ref()
    }

    /// What something of a kind may be that begins like this.
    pub(super) fn candidates(&self, kind: Kind, start: &str) -> Candidates {
        let plain = |words: Vec<String>| {
            let begun = words.into_iter().filter(|word| word.starts_with(start));
            Candidates::of(begun.map(|word| (word, String::new())).collect(), NO_FILES)
        };
        match kind {
            Kind::Nothing => plain(Vec::new()),
            Kind::Files => Candidates::default(),
            Kind::Directories => Candidates::of(Vec::new(), FILTER_DIRECTORIES),
            Kind::Words(words) => with_space(plain(words.iter().map(|word| (*word).to_owned()).collect())),
            Kind::Keys(keys) => self.keyed(keys, start),
            Kind::AnyOf(kinds) => {
                let all = kinds.iter().map(|kind| self.candidates(*kind, start));
                all.reduce(Candidates::and).unwrap_or_default()
            }
            Kind::Containers(states) => Candidates::of(self.containers(states, start), NO_FILES),
            Kind::Pods(states) => plain(self.pods(states, start)),
            Kind::Images => plain(self.images(start)),
            Kind::Volumes => plain(self.glance().map(Glance::volumes).unwrap_or_default()),
            Kind::Secrets => plain(self.glance().map(Glance::secrets).unwrap_or_default()),
            Kind::Copied => self.copied(start),
            Kind::Mounted => self.mounted(start),
            Kind::Signals => plain(signals(start)),
            Kind::Capabilities => {
                let all = CapabilitySet::all().iter().map(ToString::to_string);
                plain(all.chain(["ALL".to_owned()]).map(|name| as_begun(name, start)).collect())
            }
            Kind::Sysctls => plain(sysctls()),
            Kind::Columns => plain(top::columns::names().map(str::to_owned).collect()),
            Kind::Registries => {
                let registries = ecosystem::registries(None).ok();
                plain(registries.map(|conf| conf.search().to_vec()).unwrap_or_default())
            }
            Kind::Users => plain(users(Path::new("/etc/passwd"))),
            Kind::Template => self.template(start),
        }
    }

    fn keyed(&self, keys: &[(&str, Kind)], start: &str) -> Candidates {
        let typed = keys.iter().find(|(key, _)| key.ends_with(['=', ':', '/']) && start.starts_with(key));
        if let Some((key, kind)) = typed {
            return self.candidates(*kind, &start[key.len()..]).behind(key);
        }
        let begun = keys.iter().filter(|(key, _)| key.starts_with(start));
        let words = begun.map(|(key, _)| ((*key).to_owned(), String::new())).collect();
        with_space(Candidates::of(words, NO_FILES))
    }

    /// Names of containers with the names of their pods, and ids once some of one is typed.
    fn containers(&self, states: &[Status], start: &str) -> Vec<(String, String)> {
        let Some(glance) = self.glance() else { return Vec::new() };
        let wanted =
            glance.containers().into_iter().filter(|c| states.is_empty() || states.contains(&c.status));
        let wanted: Vec<_> = wanted.collect();
        let pods: Vec<_> = match wanted.iter().any(|container| !container.pod.is_empty()) {
            true => glance.pods().into_iter().map(|pod| (pod.pod.id, pod.pod.name)).collect(),
            false => Vec::new(),
        };
        let mut words = Vec::new();
        for container in wanted {
            let pod = pods.iter().find(|(id, _)| *id == container.pod).map_or("", |(_, name)| name.as_str());
            let id = Some(container.short_id()).filter(|_| start.len() >= LETTERS_OF_IDS);
            let both = id.into_iter().chain([container.name.as_str()]);
            let begun = both.filter(|word| word.starts_with(start));
            words.extend(begun.map(|word| (word.to_owned(), pod.to_owned())));
        }
        words
    }

    fn pods(&self, states: &[PodStatus], start: &str) -> Vec<String> {
        let all = self.glance().map(Glance::pods).unwrap_or_default();
        let wanted = all.into_iter().filter(|pod| states.is_empty() || states.contains(&pod.status));
        let words = |pod: loment_engine::ListedPod| {
            let id = Some(pod.pod.short_id().to_owned()).filter(|_| start.len() >= LETTERS_OF_IDS);
            id.into_iter().chain([pod.pod.name])
        };
        wanted.flat_map(words).collect()
    }

    /// Names of images; once something is typed also without what stands before, and ids.
    fn images(&self, start: &str) -> Vec<String> {
        let (ids, names) = self.glance().map(Glance::images).unwrap_or_default();
        if start.is_empty() {
            return names;
        }
        let endings = |name: &String| {
            let places = name.match_indices('/').map(|(at, _)| at + 1);
            [0].into_iter().chain(places).map(|at| name[at..].to_owned()).collect::<Vec<_>>()
        };
        let mut words: Vec<String> = names.iter().flat_map(endings).collect();
        if start.len() >= LETTERS_OF_IDS {
            words.extend(ids);
        }
        words.sort_unstable();
        words.dedup();
        words
    }

    /// A container's name and a colon, or a file of the host.
    fn copied(&self, start: &str) -> Candidates {
        // Behind a slash it is a path of the host.
        if let Some((container, path)) = start.split_once(':').filter(|(before, _)| !before.contains('/')) {
            return self.files_of(container, path);
        }
        let mut words = self.containers(&[], start);
        for (word, _) in &mut words {
            word.push(':');
        }
        let directive = if words.is_empty() { 0 } else { NO_SPACE };
        Candidates::of(words, directive)
    }

    /// Absolute paths in a container that runs.
    fn files_of(&self, container: &str, path: &str) -> Candidates {
        let path = if path.is_empty() { "/" } else { path };
        let Some((above, begun)) = path.rsplit_once('/') else { return Candidates::of(Vec::new(), NO_FILES) };
        let dir = PathBuf::from(format!("{above}/"));
        let names = self.glance().and_then(|glance| glance.files(container, &dir).ok()).unwrap_or_default();
        let begun = names.into_iter().filter(|name| dir.is_absolute() && name.starts_with(begun));
        let words = begun.map(|name| (format!("{container}:{above}/{name}"), String::new())).collect();
        with_space(Candidates::of(words, NO_FILES))
    }

    /// A volume's name or a path of the host; there is more to come behind either.
    fn mounted(&self, start: &str) -> Candidates {
        if start.contains(':') {
            return Candidates::default();
        }
        let names = self.glance().map(Glance::volumes).unwrap_or_default();
        let begun = names.into_iter().filter(|name| name.starts_with(start));
        Candidates::of(begun.map(|name| (name, String::new())).collect(), NO_SPACE)
    }

    /// `json`, or the fields behind the last `{{.`, also of what is below a field.
    fn template(&self, start: &str) -> Candidates {
        let Some((before, path)) = start.rsplit_once("{{").and_then(|(before, inside)| {
            let word = inside.rsplit(' ').next()?;
            let length = start.len() - word.len();
            Some((&start[..length], word)).filter(|_| before.len() <= length)
        }) else {
            let words = ["json"].into_iter().filter(|word| word.starts_with(start));
            return Candidates::of(words.map(|word| (word.to_owned(), String::new())).collect(), NO_FILES);
        };
        let Some(path) = path.strip_prefix('.') else { return Candidates::of(Vec::new(), NO_FILES) };
        let (above, begun) = path.rsplit_once('.').map_or(("", path), |(above, begun)| (above, begun));
        let record = fields::of(self.globals, self.glance(), self.command, self.words);
        let mut at = &record;
        for field in above.split('.').filter(|field| !field.is_empty()) {
            at = &at[field];
        }
        let before = if above.is_empty() { format!("{before}.") } else { format!("{before}.{above}.") };
        let word = |(field, value): (&String, &Value)| {
            let end = if value.is_object() { "." } else { "}}" };
            (format!("{before}{field}{end}"), String::new())
        };
        let known = at.as_object().into_iter().flatten().filter(|(field, _)| field.starts_with(begun));
        // Others, such as names of labels, cannot be written behind a dot.
        let known = known.filter(|(field, _)| field.chars().all(|c| c.is_alphanumeric() || c == '_'));
        Candidates::of(known.map(word).collect(), NO_SPACE | NO_FILES)
    }
}

/// Behind what ends with a sign something follows.
fn with_space(mut candidates: Candidates) -> Candidates {
    let goes_on = |(word, _): &(String, String)| word.ends_with(['=', ':', ',', '-', '/']);
    if candidates.words.iter().any(goes_on) {
        candidates.directive |= NO_SPACE;
    }
    candidates
}

/// As they were begun: with `SIG` or without, in small letters or large ones.
fn signals(start: &str) -> Vec<String> {
    let long = start.to_ascii_uppercase().starts_with("SI");
    let names = (1..=31).map(loment_runtime::signal_name);
    names.map(|name| as_begun(if long { format!("SIG{name}") } else { name }, start)).collect()
}

/// In small letters if that is how the word was begun.
fn as_begun(name: String, start: &str) -> String {
    match start.starts_with(|first: char| first.is_ascii_lowercase()) {
        true => name.to_ascii_lowercase(),
        false => name,
    }
}

fn sysctls() -> Vec<String> {
    let mut all: Vec<String> = MORE_SYSCTLS.map(str::to_owned).to_vec();
    let root = Path::new("/proc/sys");
    for (below, begun) in SYSCTLS {
        let mut directories = vec![PathBuf::from(below)];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(root.join(&directory)).into_iter().flatten().flatten() {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let path = directory.join(&name);
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => directories.push(path),
                    Ok(_) if name.starts_with(begun) => {
                        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
                        all.push(parts.join(".") + "=");
                    }
                    _ => {}
                }
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn users(passwd: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(passwd).unwrap_or_default();
    text.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
}
