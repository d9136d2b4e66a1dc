//! Searching for repositories: the search of the first registry API, which Docker Hub, Quay and others kept, and
//! the catalog where there is none.

use serde::Deserialize;

use crate::Registry;
use crate::client::{Call, Kind, Place, one_line};
use crate::error::{Error, Problem};
use crate::patience::Patience;
use crate::scope::Scopes;
use crate::url::{Target, form};

/// Results asked for on a page; Docker Hub gives no more.
const PAGE: usize = 100;
/// Most pages: nobody reads 10,000 results.
const MAX_PAGES: usize = 100;
/// Largest page; a hundred results have some 30 KiB.
const MAX_ANSWER: usize = 4 << 20;
/// Characters of a description, and of a name, that are passed on.
const MAX_TEXT: usize = 1000;
/// Where Docker Hub's search is.
const HUB: (&str, &str) = ("docker.io", "https://index.docker.io");

/// A repository that was found. Texts are one line each, and fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// On this registry.
    pub name: String,
    /// What its owner says about it.
    pub description: String,
    /// How many users like it.
    pub stars: u64,
    /// Kept by the registry's owner.
    pub official: bool,
    /// Built by the registry from a source repository.
    pub automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    /// Missing where there is one only.
    num_pages: Option<u64>,
    results: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    description: Option<String>,
    star_count: Option<u64>,
    is_official: Option<bool>,
    is_automated: Option<bool>,
}

impl Registry {
    /// At most `limit` repositories that have to do with `term`, in the registry's order; where the registry cannot
    /// search, those of its catalog whose names contain it. Docker Hub is not told
    /// who asks.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn search(&self, term: &str, limit: usize) -> Result<Vec<Found>, Error> {
        match self.search_first_api(term, limit) {
            Err(
                Error::Missing { .. }
                | Error::Status { .. }
                | Error::TooMany { .. }
                | Error::TooManyTokens { .. }
                | Error::Denied { .. }
                | Error::Unauthorized { .. }
                | Error::Protocol { .. },
            ) if self.client.host.name != HUB.0 => self.search_catalog(term, limit),
            outcome => outcome,
        }
    }

    fn search_first_api(&self, term: &str, limit: usize) -> Result<Vec<Found>, Error> {
        let size = limit.min(PAGE).to_string();
        let object = format!("search for {term:?} on {}", self.client.host.name);
        let (mut found, mut patience) = (Vec::new(), Patience::new(&self.client));
        for page in 1..=MAX_PAGES {
            let query = form(&[("q", term), ("n", &size), ("page", &page.to_string())]);
            let path = format!("/v1/search?{query}");
            let hub = (self.client.host.name == HUB.0).then(|| Target::parse(&format!("{}{path}", HUB.1)));
            let place = hub.flatten().map_or(Place::Registry(path), Place::Location);
            let call = Call::get(place, Scopes::default(), object.clone(), Kind::Other);
            let (_, bytes) = patience.document(&self.client, &call, MAX_ANSWER)?;
            let answer: Answer =
                serde_json::from_slice(&bytes).map_err(|_| self.client.problem(&call, Problem::List))?;
            let last = answer.results.is_empty() || answer.num_pages.unwrap_or(1) <= page as u64;
            found.extend(answer.results.into_iter().map(Found::from));
            if last || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn search_catalog(&self, term: &str, limit: usize) -> Result<Vec<Found>, Error> {
        let contains = |name: &Result<String, Error>| name.as_ref().map_or(true, |name| name.contains(term));
        let found =
            |name| Found { name, description: String::new(), stars: 0, official: false, automated: false };
        self.catalog().filter(contains).take(limit).map(|name| name.map(found)).collect()
    }
}

impl From<Row> for Found {
    fn from(row: Row) -> Self {
        Self {
            name: one_line(&row.name, MAX_TEXT),
            description: one_line(&row.description.unwrap_or_default(), MAX_TEXT),
            stars: row.star_count.unwrap_or(0),
            official: row.is_official.unwrap_or(false),
            automated: row.is_automated.unwrap_or(false),
        }
    }
}
