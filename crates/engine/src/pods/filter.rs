//! Filters of pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex::Regex;

use super::{ListedPod, Pod};
use crate::Error;
use crate::error::invalid;
use crate::image_filter::{moment, moment_of};

const KNOWN: &str = "use NAME=VALUE, with ctr-ids, ctr-names, ctr-number, ctr-status, id, label, label!, name, network, status or until";
const OF_CONTAINERS: [&str; 6] = ["created", "running", "paused", "stopped", "exited", "unknown"];
const OF_PODS: [&str; 7] = ["stopped", "running", "paused", "exited", "dead", "created", "degraded"];

/// Which pods are meant: of filters of one name one must be true (of labels all), of all names each.
#[derive(Debug, Default)]
pub struct PodFilters(BTreeMap<&'static str, Vec<Test>>);

#[derive(Debug)]
enum Test {
    ContainerId(Regex),
    ContainerName(Regex),
    ContainerStatus(String),
    Containers(usize),
    Id(Regex),
    Label(String, Option<String>),
    Name(Regex),
    /// There is no network yet that a pod could be in.
    Network,
    Status(String),
    Until(Timestamp),
}

impl PodFilters {
    /// Reads filters, each `NAME=VALUE` or `label!=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(texts: &[String]) -> Result<Self, Error> {
        let mut filters = Self::default();
        for text in texts {
            let bad = |hint: &str| invalid("filter", text, hint);
            let (name, value) = text.split_once('=').ok_or_else(|| bad(KNOWN))?;
            let pattern = |value: &str| Regex::new(value).map_err(|_| bad("it is no regular expression"));
            let label = || match value.split_once('=') {
                Some((key, value)) => Test::Label(key.to_owned(), Some(value.to_owned())),
                None => Test::Label(value.to_owned(), None),
            };
            let one_of = |known: &[&str]| match known.contains(&value) {
                true => Ok(value.to_owned()),
                false => Err(invalid("filter", text, format!("use one of {}", known.join(", ")))),
            };
            let (name, test) = match name {
                "ctr-ids" => {
                    ("ctr-ids", Test::ContainerId(id_pattern(value).map_or_else(|| pattern(value), Ok)?))
                }
                "ctr-names" => ("ctr-names", Test::ContainerName(pattern(value)?)),
                "ctr-number" => {
                    let number = value.parse().map_err(|_| bad("use a number of containers"))?;
                    ("ctr-number", Test::Containers(number))
                }
                "ctr-status" => ("ctr-status", Test::ContainerStatus(one_of(&OF_CONTAINERS)?)),
                "id" => ("id", Test::Id(id_pattern(value).map_or_else(|| pattern(value), Ok)?)),
                "label" => ("label", label()),
                "label!" => ("label!", label()),
                "name" => ("name", Test::Name(pattern(value)?)),
                "network" => ("network", Test::Network),
                "status" => ("status", Test::Status(one_of(&OF_PODS)?)),
                "until" => {
                    let hint = "use a time such as 2026-01-31T12:00:00Z, or an age such as 24h";
                    ("until", Test::Until(moment(value).ok_or_else(|| bad(hint))?))
                }
                _ => return Err(bad(KNOWN)),
            };
            filters.0.entry(name).or_default().push(test);
        }
        Ok(filters)
    }

    /// Whether a pod is meant.
    pub fn keep(&self, pod: &ListedPod) -> bool {
        self.0.iter().all(|(name, tests)| {
            let mut holds = tests.iter().map(|test| test.holds(pod));
            match *name {
                "label" => holds.all(|holds| holds),
                "label!" => !holds.any(|holds| holds),
                _ => holds.any(|holds| holds),
            }
        })
    }
}

/// Hexadecimal digits are the beginning of an id.
fn id_pattern(value: &str) -> Option<Regex> {
    let hex = value.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| Regex::new(&format!("^{}", value.to_ascii_lowercase())).ok()).flatten()
}

/// Whether a pod is the one that containers are asked for by.
pub(crate) fn is_called(pod: &Pod, value: &str) -> bool {
    let id = value.bytes().all(|b| b.is_ascii_hexdigit()) && pod.id.starts_with(value);
    id || Regex::new(value).is_ok_and(|pattern| pattern.is_match(&pod.name))
}

impl Test {
    fn holds(&self, listed: &ListedPod) -> bool {
        let ListedPod { pod, containers, status } = listed;
        match self {
            Self::ContainerId(pattern) => containers.iter().any(|c| pattern.is_match(&c.id)),
            Self::ContainerName(pattern) => containers.iter().any(|c| pattern.is_match(&c.name)),
            Self::ContainerStatus(word) => {
                let word = if word == "stopped" { "exited" } else { word };
                containers.iter().any(|c| c.status.name() == word)
            }
            Self::Containers(number) => containers.len() == *number,
            Self::Id(pattern) => pattern.is_match(&pod.id),
            Self::Label(key, value) => {
                pod.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|v| v == found))
            }
            Self::Name(pattern) => pattern.is_match(&pod.name),
            Self::Network => false,
            Self::Status(word) => status.name().eq_ignore_ascii_case(word),
            Self::Until(time) => moment_of(Some(&pod.created)) < *time,
        }
    }
}
