//! What a name without a registry means.

use std::collections::BTreeMap;

use crate::reference::{Problem, Reference, ReferenceError};

/// What to do with a short name that several registries might have (`short-name-mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// Ask which one is meant; refuse when there is nobody to ask.
    Enforcing,
    /// Ask which one is meant; try all when there is nobody to ask.
    #[default]
    Permissive,
    /// Try all.
    Disabled,
}

/// What a short name stands for, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `domain/path`; `None` takes back what an earlier file says.
    pub name: Option<String>,
    /// The file.
    pub file: String,
}

/// What a name without a registry means; the caller reads it from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShortNames {
    /// Registries to try, in order (`unqualified-search-registries`).
    pub unqualified_search: Vec<String>,
    /// Docker's rule: a short name is one on Docker Hub, whatever is configured.
    pub docker_hub_default: bool,
    /// What certain short names stand for, before any registry is tried.
    pub aliases: BTreeMap<String, Alias>,
    /// What to do about several candidates.
    pub mode: ShortNameMode,
}

impl ShortNames {
    /// Docker's rule.
    pub fn docker() -> Self {
        Self { docker_hub_default: true, ..Self::default() }
    }

    /// The references `input` may mean when it is pulled, in the order to try. With several of them, what is done depends
    /// on the [mode](Self::mode).
    ///
    /// # Errors
    /// What is no reference; [`Problem::NoSearchRegistries`].
    pub fn candidates(&self, input: &str) -> Result<Vec<Reference>, ReferenceError> {
        if self.docker_hub_default || !Reference::is_short(input) {
            return Ok(vec![input.parse()?]);
        }
        input.parse::<Reference>()?; // so that bad names are told as they were typed
        if let Some(alias) = self.alias(input)? {
            return Ok(vec![alias]);
        }
        if self.unqualified_search.is_empty() {
            return Err(ReferenceError { input: input.to_owned(), problem: Problem::NoSearchRegistries });
        }
        self.unqualified_search.iter().map(|registry| format!("{registry}/{input}").parse()).collect()
    }

    /// The references under which an image `input` may be in the store: its alias, then `localhost/`, where builds and
    /// commits put theirs, then each registry.
    ///
    /// # Errors
    /// What is no reference.
    pub fn local_candidates(&self, input: &str) -> Result<Vec<Reference>, ReferenceError> {
        let given: Reference = input.parse()?;
        if !Reference::is_short(input) {
            return Ok(vec![given]);
        }
        let mut found = Vec::new();
        if !self.docker_hub_default {
            found.extend(self.alias(input)?);
            found.push(format!("localhost/{input}").parse()?);
            for registry in &self.unqualified_search {
                found.push(format!("{registry}/{input}").parse()?);
            }
        }
        if !found.contains(&given) {
            found.push(given);
        }
        Ok(found)
    }

    /// What a name is when something here gets it: a short one is `localhost/`, or Docker Hub's by Docker's rule. It takes no name of
    /// an alias or a registry, whose images are not ours.
    ///
    /// # Errors
    /// What is no reference.
    pub fn new_name(&self, input: &str) -> Result<Reference, ReferenceError> {
        let given: Reference = input.parse()?;
        if self.docker_hub_default || !Reference::is_short(input) {
            return Ok(given);
        }
        format!("localhost/{input}").parse()
    }

    /// The short name without tag and digest: what aliases are known by.
    pub fn key(input: &str) -> &str {
        &input[..input.find([':', '@']).unwrap_or(input.len())]
    }

    fn alias(&self, input: &str) -> Result<Option<Reference>, ReferenceError> {
        let key = Self::key(input);
        let alias = self.aliases.get(key).and_then(|alias| alias.name.as_deref());
        alias.map(|name| format!("{name}{}", &input[key.len()..]).parse()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(found: Result<Vec<Reference>, ReferenceError>) -> Vec<String> {
        found.unwrap().iter().map(Reference::to_string).collect()
    }

    #[test]
    fn short_names_follow_the_policy_given() {
        let podman = ShortNames {
            unqualified_search: vec!["docker.io".into(), "quay.io".into()],
            ..ShortNames::default()
        };
        assert_eq!(show(podman.candidates("app")), ["docker.io/library/app", "quay.io/app"]);
        assert_eq!(show(podman.candidates("h.x/app:1")), ["h.x/app:1"]);
        let local = ["localhost/app", "docker.io/library/app", "quay.io/app"];
        assert_eq!(show(podman.local_candidates("app")), local);
        let docker = ShortNames { docker_hub_default: true, ..podman };
        assert_eq!(show(docker.candidates("app")), ["docker.io/library/app"]);
        assert_eq!(show(docker.local_candidates("app")), ["docker.io/library/app"]);
        let none = ShortNames::default();
        assert_eq!(none.candidates("app").unwrap_err().problem, Problem::NoSearchRegistries);
        assert!(none.candidates("a b").unwrap_err().to_string().contains("invalid reference format"));
    }

    #[test]
    fn an_alias_goes_before_the_registries() {
        let to = |name: Option<&str>| Alias { name: name.map(str::to_owned), file: "f".into() };
        let aliases = [("app", to(Some("h.x/team/app"))), ("a/b", to(Some("h.x/c"))), ("gone", to(None))];
        let names = ShortNames {
            unqualified_search: vec!["quay.io".into()],
            aliases: aliases.map(|(name, alias)| (name.to_owned(), alias)).into(),
            ..ShortNames::default()
        };
        assert_eq!(show(names.candidates("app")), ["h.x/team/app"]);
        assert_eq!(show(names.candidates("app:1")), ["h.x/team/app:1"]);
        assert_eq!(show(names.candidates("a/b:1")), ["h.x/c:1"]);
        assert_eq!(show(names.candidates("gone")), ["quay.io/gone"]);
        assert_eq!(show(names.candidates("quay.io/app")), ["quay.io/app"]);
        let local = ["h.x/team/app", "localhost/app", "quay.io/app", "docker.io/library/app"];
        assert_eq!(show(names.local_candidates("app")), local);
        let new = |names: &ShortNames, input| names.new_name(input).unwrap().to_string();
        assert_eq!(new(&names, "app:1"), "localhost/app:1");
        assert_eq!(new(&names, "quay.io/app"), "quay.io/app");
        let docker = ShortNames { docker_hub_default: true, ..names };
        assert_eq!(new(&docker, "app"), "docker.io/library/app");
        assert_eq!(show(docker.candidates("app")), ["docker.io/library/app"]);
    }
}
