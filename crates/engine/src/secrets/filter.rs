//! Filters of secrets: Podman's and Docker's.

use std::collections::BTreeMap;

use regex::Regex;

use super::StoredSecret;
use crate::Error;
use crate::error::invalid;

/// Which secrets are meant: of filters of one name one must be true (of labels all), of all names each.
#[derive(Debug, Default)]
pub struct SecretFilters(BTreeMap<&'static str, Vec<Test>>);

#[derive(Debug)]
enum Test {
    Driver(String),
    Id(Regex),
    Label(String, Option<String>),
    Name(Regex),
}

impl SecretFilters {
    /// Reads filters, each `NAME=VALUE`.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(texts: &[String]) -> Result<Self, Error> {
        let mut filters = Self::default();
        for text in texts {
            let use_known = || invalid("filter", text, "use NAME=VALUE, with driver, id, label or name");
            let (name, value) = text.split_once('=').ok_or_else(use_known)?;
            let pattern =
                || Regex::new(value).map_err(|_| invalid("filter", text, "it is no regular expression"));
            let (name, test) = match name {
                "driver" => ("driver", Test::Driver(value.to_owned())),
                "id" => ("id", Test::Id(pattern()?)),
                "label" => {
                    let (key, value) =
                        value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                    ("label", Test::Label(key.to_owned(), value.map(str::to_owned)))
                }
                "name" => ("name", Test::Name(pattern()?)),
                _ => return Err(use_known()),
            };
            filters.0.entry(name).or_default().push(test);
        }
        Ok(filters)
    }

    /// Whether a secret is meant.
    pub fn keep(&self, secret: &StoredSecret) -> bool {
        self.0.iter().all(|(name, tests)| {
            let mut holds = tests.iter().map(|test| test.holds(secret));
            if *name == "label" { holds.all(|holds| holds) } else { holds.any(|holds| holds) }
        })
    }
}

impl Test {
    fn holds(&self, secret: &StoredSecret) -> bool {
        match self {
            Self::Driver(driver) => secret.driver == *driver,
            Self::Id(pattern) => pattern.is_match(&secret.id),
            Self::Label(key, value) => {
                secret.labels.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Name(pattern) => pattern.is_match(&secret.name),
        }
    }
}
