//! JSON in which nothing is passed over: a key that is there twice is an error, one that nobody asked for, too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A document without a key that is there twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Text(String),
    /// A number, `true`, `false` or `null`.
    Plain,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Plain)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        let mut known = std::collections::HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !known.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            object.push((key, entries.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

/// What is wrong with a document, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

impl Wrong {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// An object whose keys are taken out one by one.
pub(super) struct Fields {
    what: String,
    entries: Vec<(String, Json)>,
}

impl Fields {
    /// `what` names it in messages.
    pub(super) fn of(json: Json, what: &str) -> Result<Self, Wrong> {
        match json {
            Json::Object(entries) => Ok(Self { what: what.to_owned(), entries }),
            _ => Err(Wrong(format!("{what} is not an object"))),
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        let position = self.entries.iter().position(|(known, _)| known == key)?;
        Some(self.entries.swap_remove(position).1)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Wrong> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Wrong(format!("{key} of {} is not a text", self.what))),
        }
    }

    pub(super) fn required(&mut self, key: &str) -> Result<String, Wrong> {
        let missing = || Wrong(format!("{} has no {key}", self.what));
        let missing = missing();
        self.text(key)?.ok_or(missing)
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Wrong> {
        let wrong = || Wrong(format!("{key} of {} is not a list of texts", self.what));
        let wrong = wrong();
        match self.take(key) {
            None => Ok(None),
            Some(Json::List(items)) => {
                let text = |item| if let Json::Text(text) = item { Some(text) } else { None };
                items.into_iter().map(text).collect::<Option<_>>().map(Some).ok_or(wrong)
            }
            Some(_) => Err(wrong),
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Json)> {
        self.entries.into_iter()
    }

    /// Nothing must be left.
    pub(super) fn end(self) -> Result<(), Wrong> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => Err(Wrong(format!("unknown key {key:?} in {}", self.what))),
        }
    }
}
