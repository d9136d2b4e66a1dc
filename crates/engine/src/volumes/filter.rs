//! Filters of volumes: Podman's and Docker's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex::Regex;

use super::StoredVolume;
use crate::error::invalid;
use crate::image_filter::{moment, moment_of};
use crate::{Engine, Error};

const KNOWN: &str = "after, anonymous, dangling, driver, label, label!, name, opt, scope, since or until";

/// Which volumes are meant: of filters of one name one must be true (of labels all), of all names each.
#[derive(Debug, Default)]
pub struct VolumeFilters {
    by_name: BTreeMap<String, Vec<Test>>,
    /// Docker's `all=true`.
    all: bool,
}

#[derive(Debug)]
enum Test {
    After(Timestamp),
    Anonymous(bool),
    Dangling(bool),
    Driver(String),
    Label(String, Option<String>),
    Name(Regex),
    Option(String, Option<String>),
    Scope(String),
    Until(Timestamp),
}

impl Engine {
    /// Reads filters, each `NAME=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::NoVolume`] for `after=` and `since=` a volume that is not there.
    pub fn volume_filters(&self, texts: &[String]) -> Result<VolumeFilters, Error> {
        let mut filters = VolumeFilters::default();
        for text in texts {
            let bad = |hint: &str| invalid("filter", text, hint);
            let use_known = || invalid("filter", text, format!("use NAME=VALUE, with {KNOWN}"));
            let (name, value) = text.split_once('=').ok_or_else(use_known)?;
            let pair = || match value.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            };
            let boolean = || match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(bad("use true or false")),
            };
            let test = match name {
                "all" => {
                    filters.all = boolean()?;
                    continue;
                }
                "after" | "since" => Test::After(moment_of(Some(&self.volume(value)?.created))),
                "anonymous" => Test::Anonymous(boolean()?),
                "dangling" => Test::Dangling(boolean()?),
                "driver" => Test::Driver(value.to_owned()),
                "label" | "label!" => Test::Label(pair().0, pair().1),
                "name" => Test::Name(Regex::new(value).map_err(|_| bad("it is no regular expression"))?),
                "opt" => Test::Option(pair().0, pair().1),
                "scope" => Test::Scope(value.to_owned()),
                "until" => {
                    let hint = "use a time such as 2026-01-31T12:00:00Z, or an age such as 24h";
                    Test::Until(moment(value).ok_or_else(|| bad(hint))?)
                }
                _ => return Err(use_known()),
            };
            let name = if name == "since" { "after" } else { name };
            filters.by_name.entry(name.to_owned()).or_default().push(test);
        }
        Ok(filters)
    }
}

impl VolumeFilters {
    /// Whether those with names are meant where otherwise only anonymous ones are: `all=true`.
    pub fn all(&self) -> bool {
        self.all
    }

    /// Whether a volume is meant, which a container has, or none.
    pub fn keep(&self, volume: &StoredVolume, used: bool) -> bool {
        self.by_name.iter().all(|(name, tests)| {
            let mut holds = tests.iter().map(|test| test.holds(volume, used));
            match name.as_str() {
                "label" => holds.all(|holds| holds),
                "label!" => !holds.any(|holds| holds),
                _ => holds.any(|holds| holds),
            }
        })
    }
}

impl Test {
    fn holds(&self, volume: &StoredVolume, used: bool) -> bool {
        let has = |map: &BTreeMap<String, String>, key: &String, value: &Option<String>| {
            map.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let created = || moment_of(Some(&volume.created));
        match self {
            Self::After(moment) => created() > *moment,
            Self::Anonymous(wanted) => volume.anonymous == *wanted,
            Self::Dangling(wanted) => used != *wanted,
            Self::Driver(driver) => volume.driver == *driver,
            Self::Label(key, value) => has(&volume.labels, key, value),
            Self::Name(pattern) => pattern.is_match(&volume.name),
            Self::Option(key, value) => has(&volume.options, key, value),
            Self::Scope(scope) => scope == "local",
            Self::Until(moment) => created() < *moment,
        }
    }
}
