//! Filters of containers: Podman's and Docker's.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use loment_image::{Reference, ShortNames};
use loment_monitor::health::HealthStatus;
use loment_monitor::supervision::{Restart, Supervision};
use loment_store::ImageId;
use regex::Regex;

use crate::config::{ImageUse, PortRange};
use crate::container::Status;
use crate::error::invalid;
use crate::family::Family;
use crate::image_filter::{moment, moment_of};
use crate::list::{Listed, Which};
use crate::pods::is_called;
use crate::stop::STOPPED;
use crate::{Engine, Error};

const KNOWN: &str = "ancestor, annotation, before, command, exited, expose, health, id, is-task, label, label!, \
                     name, network, pod, publish, restart-policy, should-start-on-boot, since, status, until or volume";

/// The states that there are (for one of the two).
const STATES: [&str; 11] = [
    "created",
    "dead",
    "exited",
    "initialized",
    "paused",
    "removing",
    "restarting",
    "running",
    "stopped",
    "stopping",
    "unknown",
];

const POLICIES: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];

/// Which containers are meant: of filters of one name one must be true (of labels and annotations all), of all names each.
#[derive(Debug)]
pub struct ListFilters<'e> {
    by_name: BTreeMap<String, Vec<Test>>,
    ancestors: Ancestors<'e>,
}

#[derive(Debug)]
enum Test {
    Ancestor {
        typed: String,
        found: Option<ImageId>,
    },
    Annotation(String, Option<String>),
    Before(String),
    Command(Regex),
    Exited(i32),
    Expose(PortRange),
    Health(String),
    Id(String),
    IdLike(Regex),
    Label(String, Option<String>),
    Name(Regex),
    Network(String),
    /// Of what no container has.
    Never,
    Pod(Vec<String>),
    RestartPolicy(&'static str),
    Since(String),
    StartsOnBoot(bool),
    Status(String),
    Task(bool),
    Until(Timestamp),
    Volume(String),
}

impl Engine {
    /// Reads filters, each `NAME=VALUE`. Names of images are completed as `short_names` say, which are asked for only when an
    /// image is meant.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::NoContainer`] for `before=` and `since=` a container that is not there.
    pub fn list_filters<E: From<Error>>(
        &self,
        texts: &[String],
        short_names: impl Fn() -> Result<ShortNames, E>,
    ) -> Result<ListFilters<'_>, E> {
        let mut by_name: BTreeMap<String, Vec<Test>> = BTreeMap::new();
        for text in texts {
            let use_known = || invalid("filter", text, format!("use NAME=VALUE, with {KNOWN}"));
            let (name, value) = text.split_once('=').ok_or_else(use_known)?;
            let test = match name {
                "ancestor" => {
                    let found = self.find_image(value, &short_names()?).ok().map(|(id, _)| id);
                    Test::Ancestor { typed: value.trim_start_matches("sha256:").to_owned(), found }
                }
                _ => self.list_test(name, value, text)?.ok_or_else(use_known)?,
            };
            by_name.entry(name.to_owned()).or_default().push(test);
        }
        Ok(ListFilters { by_name, ancestors: Ancestors::new(self) })
    }

    /// `None` for a name that is none.
    fn list_test(&self, name: &str, value: &str, text: &str) -> Result<Option<Test>, Error> {
        let bad = |hint: String| invalid("filter", text, hint);
        let boolean = || match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(bad(format!("use {name}=true or {name}=false"))),
        };
        let pattern = |value: &str| Regex::new(value).map_err(|e| bad(wrong_pattern(&e)));
        let pair = || match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        Ok(Some(match name {
            "annotation" => Test::Annotation(pair().0, pair().1),
            "before" => Test::Before(self.container(value)?.config.created),
            "since" => Test::Since(self.container(value)?.config.created),
            "command" => Test::Command(pattern(value)?),
            "exited" => Test::Exited(value.parse().map_err(|_| bad("use a number".into()))?),
            "health" if ["none", "starting", "healthy", "unhealthy"].contains(&value) => {
                Test::Health(value.to_owned())
            }
            "health" => return Err(bad("use none, starting, healthy or unhealthy".into())),
            "id" if value.bytes().all(|b| b.is_ascii_hexdigit()) => Test::Id(value.to_ascii_lowercase()),
            "id" => Test::IdLike(pattern(value)?),
            "label" | "label!" => Test::Label(pair().0, pair().1),
            // Docker's names begin with one.
            "name" => Test::Name(pattern(&value.replace('/', ""))?),
            "network" => Test::Network(value.to_owned()),
            "expose" => {
                let ports = PortRange::parse(value);
                Test::Expose(ports.ok_or_else(|| bad("use PORT[-PORT][/PROTOCOL]".into()))?)
            }
            "pod" => {
                let pods = self.pod_records().0.into_iter();
                Test::Pod(pods.filter(|pod| is_called(pod, value)).map(|pod| pod.id).collect())
            }
            // There is nothing of these in any container.
            "publish" => Test::Never,
            "is-task" => Test::Task(boolean()?),
            "restart-policy" => {
                // For Podman, none has no other name.
                let value = if value == "none" { "no" } else { value };
                let known = POLICIES.iter().find(|known| **known == value);
                Test::RestartPolicy(known.ok_or_else(|| Error::RestartPolicy { word: value.to_owned() })?)
            }
            "should-start-on-boot" => Test::StartsOnBoot(boolean()?),
            "status" if STATES.contains(&value) => Test::Status(value.to_owned()),
            "status" => {
                return Err(bad(format!("unknown container state {value}: use {}", STATES.join(", "))));
            }
            "until" => Test::Until(moment(value).ok_or_else(|| {
                bad("use a time such as 2026-01-31T12:00:00Z, or an age such as 24h".into())
            })?),
            "volume" => Test::Volume(value.to_owned()),
            _ => return Ok(None),
        }))
    }
}

impl ListFilters<'_> {
    /// Which containers have to be looked at. Whoever asks for a state means those that do not run, too.
    pub fn which(&self, all: bool) -> Which {
        let asks = ["status", "exited"].iter().any(|name| self.by_name.contains_key(*name));
        if all || asks { Which::All } else { Which::Active }
    }

    /// Whether a container is meant.
    pub fn keep(&self, container: &Listed) -> bool {
        self.by_name.iter().all(|(name, tests)| {
            let mut holds = tests.iter().map(|test| self.holds(test, container));
            match name.as_str() {
                "label" | "annotation" => holds.all(|holds| holds),
                "label!" => !holds.any(|holds| holds),
                // The earliest counts, as with Podman.
                "before" | "since" => holds_of_earliest(tests, container),
                _ => holds.any(|holds| holds),
            }
        })
    }

    fn holds(&self, test: &Test, c: &Listed) -> bool {
        match test {
            Test::Ancestor { typed, found } => self.ancestors.is_of(c, typed, found.as_ref()),
            Test::Annotation(key, value) => has(&c.annotations, key, value.as_deref()),
            Test::Before(created) => c.created < *created,
            Test::Since(created) => c.created > *created,
            Test::Command(pattern) => c.args.first().is_some_and(|first| pattern.is_match(first)),
            Test::Exited(code) => c.status == Status::Exited && c.state.exit_code == *code,
            Test::Health(wanted) => wanted == c.health.map_or("none", HealthStatus::name),
            Test::Id(start) => c.id.starts_with(start),
            Test::IdLike(pattern) => pattern.is_match(&c.id),
            Test::Label(key, value) => has(&c.labels, key, value.as_deref()),
            Test::Name(pattern) => pattern.is_match(&c.name),
            Test::Network(name) => c.network.name() == *name,
            Test::Expose(wanted) => {
                c.exposed.iter().filter_map(|text| PortRange::parse(text)).any(|ports| ports.meets(wanted))
            }
            Test::Never => false,
            Test::Pod(ids) => ids.contains(&c.pod),
            Test::RestartPolicy(wanted) => policy(&c.supervision) == *wanted,
            Test::StartsOnBoot(wanted) => self.starts_on_boot(c) == *wanted,
            Test::Task(wanted) => !*wanted,
            Test::Status(state) => {
                let state = if state == "stopped" { "exited" } else { state };
                c.status.name() == state
            }
            Test::Until(moment) => moment_of(Some(&c.created)) < *moment,
            Test::Volume(wanted) => c.volumes.iter().any(|volume| {
                let is_from = |text: &str| {
                    let name = volume.volume.as_ref().map(|used| used.name.as_str());
                    name.map_or(volume.source.as_os_str() == text, |name| name == text)
                };
                let destination = volume.destination.as_os_str();
                match wanted.split_once(':') {
                    Some((from, to)) => is_from(from) && destination == to,
                    None => is_from(wanted) || destination == wanted.as_str(),
                }
            }),
        }
    }
}

impl ListFilters<'_> {
    fn starts_on_boot(&self, c: &Listed) -> bool {
        match c.supervision.restart {
            Restart::Always => true,
            Restart::UnlessStopped => !self.ancestors.engine.dir(&c.id).join(STOPPED).exists(),
            Restart::No | Restart::OnFailure(_) => false,
        }
    }
}

fn policy(supervision: &Supervision) -> &'static str {
    match supervision.restart {
        Restart::No => "no",
        Restart::OnFailure(_) => "on-failure",
        Restart::Always => "always",
        Restart::UnlessStopped => "unless-stopped",
    }
}

/// Whether a container is before, or after, the oldest of those that were named.
fn holds_of_earliest(tests: &[Test], c: &Listed) -> bool {
    let created = |test: &Test| match test {
        Test::Before(created) | Test::Since(created) => created.clone(),
        _ => String::new(),
    };
    let earliest = tests.iter().map(created).min().unwrap_or_default();
    match tests.first() {
        Some(Test::Since(_)) => c.created > earliest,
        _ => !c.created.is_empty() && c.created < earliest,
    }
}

/// What is wrong with a regular expression, without the drawing of it that comes before.
fn wrong_pattern(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("it is no regular expression: {last}")
}

/// Whether there is such a key, or one that begins with it where it ends with `*`, with that value if one is given.
fn has(map: &BTreeMap<String, String>, key: &str, value: Option<&str>) -> bool {
    let fits = |found: &String| value.is_none_or(|value| value == found);
    match key.strip_suffix('*') {
        Some(start) => map.iter().any(|(key, found)| key.starts_with(start) && fits(found)),
        None => map.get(key).is_some_and(fits),
    }
}

/// Whether `typed`, `NAME@DIGEST` or a digest alone, is what an image was pulled as.
fn is_by_digest(image: &ImageUse, typed: &str) -> bool {
    let (name, digest) = typed.rsplit_once('@').unwrap_or(("", typed));
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    if image.digest.is_empty() || hex(&image.digest) != hex(digest) {
        return false;
    }
    let own =
        image.name.parse::<Reference>().map(|reference| reference.name().to_owned()).unwrap_or_default();
    let short = own.strip_prefix("docker.io/").unwrap_or(&own);
    ["", &own, short, short.strip_prefix("library/").unwrap_or(short)].contains(&name)
}

/// Which containers come from which images; each pair of images is compared once.
#[derive(Debug)]
struct Ancestors<'e> {
    engine: &'e Engine,
    family: Family<'e>,
    known: RefCell<HashMap<(ImageId, ImageId), bool>>,
}

impl<'e> Ancestors<'e> {
    fn new(engine: &'e Engine) -> Self {
        Self { engine, family: Family::new(engine), known: RefCell::default() }
    }

    /// Whether a container was made from an image, or from one that was made from that. One that is not here any more is known by
    /// the name it had, or the beginning of its id.
    fn is_of(&self, container: &Listed, typed: &str, found: Option<&ImageId>) -> bool {
        let Some(image) = &container.image else { return false };
        match found {
            Some(found) => *found == image.id || self.descends(found, &image.id),
            None if typed.is_empty() => false,
            None => image.id.hex().starts_with(typed) || image.name == typed || is_by_digest(image, typed),
        }
    }

    fn descends(&self, ancestor: &ImageId, image: &ImageId) -> bool {
        let pair = (ancestor.clone(), image.clone());
        if let Some(known) = self.known.borrow().get(&pair) {
            return *known;
        }
        let record = |id: &ImageId| self.engine.store().image(id).ok().flatten();
        let child = match (record(ancestor), record(image)) {
            (Some(parent), Some(child)) => self.family.is_child(&parent, &child),
            _ => false,
        };
        self.known.borrow_mut().insert(pair, child);
        child
    }
}
