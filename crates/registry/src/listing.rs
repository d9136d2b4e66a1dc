//! Lists of tags and repositories, page by page.

use std::fmt;
use std::sync::Arc;
use std::vec;

use serde::Deserialize;

use crate::client::{Call, Client, Kind, Place};
use crate::error::{Error, Problem};
use crate::link::{Pages, turn};
use crate::patience::Patience;
use crate::scope::Scopes;
use crate::{Registry, names};

/// Largest page; Debian's registry sends all tags on one. 32 MiB hold some 800,000.
const MAX_PAGE: usize = 32 << 20;
/// Largest list, over all its pages: some 3,000,000 names.
const MAX_LIST: usize = 128 << 20;

impl Registry {
    /// The tags of a repository (distribution-spec 1.1, "Listing Tags"). Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Repository`].
    pub fn tags(&self, repository: &str) -> Result<Names, Error> {
        names::repository(repository)?;
        let object = format!("tags of {}", self.full_name(repository));
        let path = format!("/v2/{repository}/tags/list");
        let is_name = |name: &str| matches!(names::reference(name), Ok(None));
        Ok(Names::new(&self.client, path, Scopes::pull(repository), object, is_name))
    }

    /// The repositories of the registry. An extension of the distribution project that public registries lack.
    /// Nothing is sent yet.
    pub fn catalog(&self) -> Names {
        let object = format!("repositories of {}", self.client.host.name);
        let is_name = |name: &str| names::repository(name).is_ok();
        Names::new(&self.client, "/v2/_catalog".to_owned(), Scopes::catalog(), object, is_name)
    }
}

/// Tags or repositories, in the registry's order. Each page is fetched when the one before is used up; after an
/// error nothing comes any more. All of [`Error`] is possible; [`Error::Missing`] when there is no such repository
/// or list.
pub struct Names {
    client: Arc<Client>,
    call: Call,
    /// Path of the next page.
    next: Option<String>,
    page: vec::IntoIter<String>,
    pages: Pages,
    patience: Patience,
    is_name: fn(&str) -> bool,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("of", &self.call.object).finish_non_exhaustive()
    }
}

/// Either document; `null` is an empty list, but something must be there.
#[derive(Deserialize)]
struct Page {
    #[serde(alias = "repositories", deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl Names {
    fn new(
        client: &Arc<Client>,
        path: String,
        scopes: Scopes,
        object: String,
        is_name: fn(&str) -> bool,
    ) -> Self {
        let call = Call::get(Place::Registry(path.clone()), scopes, object, Kind::Other);
        let (page, pages) = (Vec::new().into_iter(), Pages::new(&path, MAX_LIST));
        let patience = Patience::new(client);
        Self { client: Arc::clone(client), call, next: Some(path), page, pages, patience, is_name }
    }

    /// Fetches the page at `path`.
    fn turn(&mut self, path: &str) -> Result<(), Error> {
        let call = turn(&self.call, path.to_owned());
        let (headers, bytes) = self.patience.document(&self.client, &call, MAX_PAGE)?;
        let malformed = || self.client.problem(&call, Problem::List);
        let names = serde_json::from_slice::<Page>(&bytes).map_err(|_| malformed())?.tags.unwrap_or_default();
        if !names.iter().all(|name| (self.is_name)(name)) {
            return Err(malformed());
        }
        self.next = self.pages.next(&self.client, &call, path, &headers, bytes.len())?;
        self.page = names.into_iter();
        Ok(())
    }
}

impl Iterator for Names {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(name) = self.page.next() {
                return Some(Ok(name));
            }
            let path = self.next.take()?;
            if let Err(error) = self.turn(&path) {
                return Some(Err(error));
            }
        }
    }
}
