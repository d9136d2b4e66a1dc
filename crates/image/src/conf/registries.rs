//! registries.conf, version 2 (containers-registries.conf(5)): where images are really fetched from, and which are not.
//!
//! Files are put together in the order given: a `[[registry]]` replaces the one with the same prefix, a list replaces the
//! list, an alias the alias. Keys that mean nothing are passed over, as others do: newer ones are not an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ConfError;
use super::matching::end_of_match;
use super::short::{Alias, ShortNameMode, ShortNames};
use crate::reference::Reference;

/// The credential helper that is no program: auth.json.
const AUTH_FILES: &str = "containers-auth.json";

/// A file as it was read.
#[derive(Debug, Clone, Copy)]
pub struct File<'t> {
    /// For messages: its path.
    pub name: &'t str,
    /// What is in it.
    pub text: &'t str,
}

impl File<'_> {
    /// Reads it as TOML.
    pub(super) fn toml<T: DeserializeOwned>(self) -> Result<T, ConfError> {
        toml::from_str(self.text).map_err(|e| ConfError::toml(self.name, self.text, &e))
    }

    /// Whether it may say anything of what one of these words stands for: few files do, and not all of them need to be parsed for
    /// that. What only a remark says is none.
    pub(super) fn mentions(self, words: &[&str]) -> bool {
        let lines = self.text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
        lines.into_iter().any(|line| words.iter().any(|word| line.contains(word)))
    }
}

/// For which pulls a mirror is asked (`pull-from-mirror`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MirrorUse {
    /// For all.
    #[default]
    All,
    /// For those by digest.
    DigestOnly,
    /// For those by tag.
    TagOnly,
}

/// `[[registry.mirror]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What the prefix is replaced by.
    pub location: String,
    /// Whether plain HTTP and unverified certificates are accepted, if that is said.
    pub insecure: Option<bool>,
    /// When it is asked.
    pub when: MirrorUse,
}

/// `[[registry]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTable {
    /// Which names it is for.
    pub prefix: String,
    /// What the prefix is replaced by; empty for a `*.host` that stays as it is.
    pub location: String,
    /// Whether plain HTTP and unverified certificates are accepted, if that is said.
    pub insecure: Option<bool>,
    /// Nothing is fetched from there, nor sent.
    pub blocked: bool,
    /// Mirrors in the order to try.
    pub mirrors: Vec<Mirror>,
    /// Where it is written.
    pub file: String,
}

/// All that registries.conf and its drop-ins say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registries {
    /// By prefix; each has one.
    tables: BTreeMap<String, RegistryTable>,
    search: Vec<String>,
    helpers: Vec<String>,
    aliases: BTreeMap<String, Alias>,
    mode: ShortNameMode,
}

impl Default for Registries {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            search: Vec::new(),
            helpers: vec![AUTH_FILES.to_owned()],
            aliases: BTreeMap::new(),
            mode: ShortNameMode::default(),
        }
    }
}

/// Where to ask for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called there.
    pub reference: Reference,
    /// Whether plain HTTP and unverified certificates are accepted, if that is said.
    pub insecure: Option<bool>,
}

/// Nothing may be fetched from a registry. The words are Podman's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registry {prefix} is blocked in {file}")]
pub struct Blocked {
    /// What is blocked.
    pub prefix: String,
    /// Who says so.
    pub file: String,
}

/// Why a reference cannot be looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// Not allowed.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// A location makes something of it that is no reference.
    #[error(
        "{file}: location {location:?} makes {rewritten:?} of {reference}, which is not a full image name"
    )]
    Location {
        /// The file.
        file: String,
        /// As written there.
        location: String,
        /// What it makes.
        rewritten: String,
        /// Of what.
        reference: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    registry: Vec<RegistryEntry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryEntry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    insecure: Option<bool>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    pull_from_mirror: String,
    #[serde(default)]
    mirror: Vec<MirrorEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorEntry {
    #[serde(default)]
    location: String,
    insecure: Option<bool>,
    #[serde(default)]
    pull_from_mirror: String,
}

#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

impl Registries {
    /// Puts files together: the main one, then drop-ins in their order.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            all.add(file)?;
        }
        all.check()?;
        Ok(all)
    }

    /// Adds the aliases of the file in which choices are recorded (short-name-aliases.conf); they go before others.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn add_recorded(&mut self, file: File<'_>) -> Result<(), ConfError> {
        let recorded: Recorded = file.toml()?;
        self.add_aliases(file.name, recorded.aliases)
    }

    fn add(&mut self, file: File<'_>) -> Result<(), ConfError> {
        let document: Document = file.toml()?;
        if document.registries.is_some() {
            return Err(ConfError::Version1 { file: file.name.to_owned() });
        }
        let mut tables: BTreeMap<String, RegistryTable> = BTreeMap::new();
        for entry in document.registry {
            let table = entry.check(file.name)?;
            // The first of several with one prefix counts, as for others.
            tables.entry(table.prefix.clone()).or_insert(table);
        }
        self.tables.append(&mut tables);
        if let Some(search) = document.unqualified_search_registries {
            self.search = search
                .into_iter()
                .map(|registry| search_registry(file.name, registry))
                .collect::<Result<_, _>>()?;
        }
        if let Some(helpers) = document.credential_helpers {
            self.helpers = helpers;
        }
        if let Some(mode) = document.short_name_mode.filter(|mode| !mode.is_empty()) {
            self.mode = short_name_mode(file.name, mode)?;
        }
        self.add_aliases(file.name, document.aliases)
    }

    fn add_aliases(&mut self, file: &str, aliases: BTreeMap<String, String>) -> Result<(), ConfError> {
        for (short, name) in aliases {
            let alias = Alias { name: alias(file, &short, name)?, file: file.to_owned() };
            self.aliases.insert(short, alias);
        }
        Ok(())
    }

    /// What several tables say of one location must agree: nobody could tell which one counts.
    fn check(&self) -> Result<(), ConfError> {
        let mut seen: BTreeMap<&str, &RegistryTable> = BTreeMap::new();
        for table in self.tables.values().filter(|table| !table.location.is_empty()) {
            let first = *seen.entry(&table.location).or_insert(table);
            let problem = match (first.is_insecure() == table.is_insecure(), first.blocked == table.blocked) {
                (true, true) => continue,
                (false, _) => "it is defined multiple times with conflicting 'insecure' setting",
                (true, false) => "it is defined multiple times with conflicting 'blocked' setting",
            };
            let (file, registry) = (table.file.clone(), table.location.clone());
            return Err(ConfError::Conflict { file, registry, problem });
        }
        Ok(())
    }

    /// The table for a name, `host[:port][/path][:tag|@digest]`: the one with the longest prefix that means it.
    pub fn table(&self, name: &str) -> Option<&RegistryTable> {
        let tables = self.tables.values().filter(|table| end_of_match(name, &table.prefix).is_some());
        tables.max_by_key(|table| table.prefix.len())
    }

    /// Where a reference is to be read from, in the order to try: mirrors first; never empty.
    ///
    /// # Errors
    /// [`RewriteError`].
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RewriteError> {
        let name = reference.to_string();
        let Some(table) = self.table(&name) else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: None }]);
        };
        table.allowed()?;
        let digest = reference.digest().is_some();
        let mirrors = table.mirrors.iter().filter(|mirror| match mirror.when {
            MirrorUse::All => true,
            MirrorUse::DigestOnly => digest,
            MirrorUse::TagOnly => !digest,
        });
        let places = mirrors.map(|mirror| (mirror.location.as_str(), mirror.insecure));
        let origin = (table.location.as_str(), table.insecure);
        let (mut endpoints, mut blocked) = (Vec::new(), None);
        for (location, insecure) in places.chain([origin]) {
            let reference = table.rewrite(location, reference, &name)?;
            // A place may be blocked under its own name, too.
            match self.table(&reference.to_string()).map_or(Ok(()), RegistryTable::allowed) {
                Ok(()) => endpoints.push(Endpoint { reference, insecure }),
                Err(error) => blocked = Some(error),
            }
        }
        match blocked {
            Some(error) if endpoints.is_empty() => Err(error.into()),
            _ => Ok(endpoints),
        }
    }

    /// Whether plain HTTP and unverified certificates are accepted where `name` is written to, logged in to, or listed, if that is said:
    /// neither mirrors nor locations count there.
    ///
    /// # Errors
    /// [`Blocked`].
    pub fn insecure(&self, name: &str) -> Result<Option<bool>, Blocked> {
        self.table(name).map_or(Ok(None), |table| table.allowed().map(|()| table.insecure))
    }

    /// Registries that short names are looked for in (`unqualified-search-registries`).
    pub fn search(&self) -> &[String] {
        &self.search
    }

    /// Places that it names, `host[:port][/path]`, some of them more than once: registries that are searched, those with a table that
    /// does not block them, and mirrors. A `*.` stands for any host.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let tables = self.tables.values().filter(|table| !table.blocked);
        let of_tables = tables.flat_map(|table| {
            let own = if table.location.is_empty() { &table.prefix } else { &table.location };
            table.mirrors.iter().map(|mirror| mirror.location.as_str()).chain([own.as_str()])
        });
        self.search.iter().map(String::as_str).chain(of_tables)
    }

    /// Who knows credentials, in order (`credential-helpers`); `None` is auth.json and its like.
    pub fn helpers(&self) -> impl Iterator<Item = Option<&str>> {
        self.helpers.iter().map(|helper| Some(helper.as_str()).filter(|helper| *helper != AUTH_FILES))
    }

    /// What names without a registry mean.
    pub fn short_names(&self) -> ShortNames {
        ShortNames {
            unqualified_search: self.search.clone(),
            docker_hub_default: false,
            aliases: self.aliases.clone(),
            mode: self.mode,
        }
    }
}

impl RegistryTable {
    fn is_insecure(&self) -> bool {
        self.insecure.unwrap_or(false)
    }

    fn allowed(&self) -> Result<(), Blocked> {
        let (prefix, file) = (&self.prefix, &self.file);
        if self.blocked { Err(Blocked { prefix: prefix.clone(), file: file.clone() }) } else { Ok(()) }
    }

    fn rewrite(&self, location: &str, reference: &Reference, name: &str) -> Result<Reference, RewriteError> {
        let end = end_of_match(name, &self.prefix).unwrap_or(name.len());
        if location.is_empty() {
            return Ok(reference.clone());
        }
        let rewritten = format!("{location}{}", &name[end..]);
        // What Docker's defaults would complete is an accident here.
        match rewritten.parse::<Reference>() {
            Ok(parsed) if parsed.to_string() == rewritten => Ok(parsed),
            _ => Err(RewriteError::Location {
                file: self.file.clone(),
                location: location.to_owned(),
                rewritten,
                reference: name.to_owned(),
            }),
        }
    }
}

impl RegistryEntry {
    fn check(self, file: &str) -> Result<RegistryTable, ConfError> {
        let conflict = |registry: &str, problem| {
            Err(ConfError::Conflict { file: file.to_owned(), registry: registry.to_owned(), problem })
        };
        let location =
            if self.location.is_empty() { String::new() } else { place(file, "location", &self.location)? };
        if location.is_empty() && self.prefix.is_empty() {
            return conflict("", "both location and prefix are unset");
        }
        let prefix =
            if self.prefix.is_empty() { location.clone() } else { place(file, "prefix", &self.prefix)? };
        if location.is_empty() && !prefix.starts_with("*.") {
            return conflict(&prefix, "location is unset and prefix is not in the format: *.example.com");
        }
        if !self.pull_from_mirror.is_empty() {
            return conflict(&prefix, "pull-from-mirror must not be set for a non-mirror registry");
        }
        let mut mirrors = Vec::new();
        for mirror in self.mirror {
            if self.mirror_by_digest_only && !mirror.pull_from_mirror.is_empty() {
                return conflict(
                    &prefix,
                    "mirror-by-digest-only and the pull-from-mirror of a mirror exclude each other",
                );
            }
            let when = match mirror.pull_from_mirror.as_str() {
                "" if self.mirror_by_digest_only => MirrorUse::DigestOnly,
                "" | "all" => MirrorUse::All,
                "digest-only" => MirrorUse::DigestOnly,
                "tag-only" => MirrorUse::TagOnly,
                _ => {
                    let problem = "use all, digest-only or tag-only";
                    return value(file, "pull-from-mirror", &mirror.pull_from_mirror, problem);
                }
            };
            let location = place(file, "location", &mirror.location)?;
            mirrors.push(Mirror { location, insecure: mirror.insecure, when });
        }
        let (insecure, blocked) = (self.insecure, self.blocked);
        Ok(RegistryTable { prefix, location, insecure, blocked, mirrors, file: file.to_owned() })
    }
}

fn value<T>(file: &str, key: &'static str, value: &str, problem: &'static str) -> Result<T, ConfError> {
    Err(ConfError::Value { file: file.to_owned(), key, value: value.to_owned(), problem })
}

/// A location or prefix.
fn place(file: &str, key: &'static str, text: &str) -> Result<String, ConfError> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() {
        return value(file, key, text, "cannot be empty");
    }
    if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
        return value(file, key, text, "URI schemes are not supported");
    }
    Ok(trimmed.to_owned())
}

/// A host, with a port perhaps.
fn search_registry(file: &str, text: String) -> Result<String, ConfError> {
    let key = "unqualified-search-registries";
    let registry = place(file, key, &text)?;
    // The path is there for the parser only: a host alone is a path.
    if registry.contains('/') || format!("{registry}/x").parse::<Reference>().is_err() {
        return value(file, key, &text, "use HOST or HOST:PORT");
    }
    Ok(registry)
}

fn short_name_mode(file: &str, mode: String) -> Result<ShortNameMode, ConfError> {
    match mode.as_str() {
        "enforcing" => Ok(ShortNameMode::Enforcing),
        "permissive" => Ok(ShortNameMode::Permissive),
        "disabled" => Ok(ShortNameMode::Disabled),
        _ => value(file, "short-name-mode", &mode, "use enforcing, permissive or disabled"),
    }
}

/// An alias is for a name without tag and digest, and stands for a full one without them.
fn alias(file: &str, short: &str, name: String) -> Result<Option<String>, ConfError> {
    let bare = |reference: &Reference| reference.tag().is_none() && reference.digest().is_none();
    let is_short = Reference::is_short(short) && short.parse::<Reference>().is_ok_and(|r| bare(&r));
    if !is_short {
        return value(file, "alias", short, "use a name without registry, tag and digest");
    }
    if name.is_empty() {
        return Ok(None);
    }
    match name.parse::<Reference>() {
        Ok(reference) if bare(&reference) && !Reference::is_short(&name) => Ok(Some(reference.name())),
        _ => value(file, "alias", &name, "use a name with its registry, without tag and digest"),
    }
}

#[cfg(test)]
#[path = "registries_tests.rs"]
mod tests;
