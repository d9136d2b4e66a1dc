//! What a token is for (<https://distribution.github.io/distribution/spec/auth/scope/>).

use std::collections::{BTreeMap, BTreeSet};

/// All actions.
const ALL: &str = "*";

/// Resources, each with what is to be done to it. Kept sorted, so that equal wishes are the same key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// `repository:NAME:pull`.
    pub(crate) fn pull(repository: &str) -> Self {
        Self::of(format!("repository:{repository}"), &["pull"])
    }

    /// `repository:NAME:pull,push`.
    pub(crate) fn push(repository: &str) -> Self {
        Self::of(format!("repository:{repository}"), &["pull", "push"])
    }

    /// To delete: everything, because distribution wants `delete` for it and Quay, which wants `push`, refuses
    /// requests with `delete` in them; both know `*`.
    pub(crate) fn delete(repository: &str) -> Self {
        Self::of(format!("repository:{repository}"), &[ALL])
    }

    /// To list repositories.
    pub(crate) fn catalog() -> Self {
        Self::of("registry:catalog".to_owned(), &[ALL])
    }

    fn of(resource: String, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self([(resource, actions)].into_iter().collect())
    }

    /// The `scope` of a challenge: resources separated by spaces. What is not of the form
    /// `TYPE:NAME:ACTION,…` is kept as it is: the token server may know what it means.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            let (resource, actions) = match scope.rsplit_once(':') {
                Some((resource, actions)) if resource.contains(':') => (resource, actions),
                _ => (scope, ""),
            };
            let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
            scopes.0.entry(resource.to_owned()).or_default().extend(actions);
        }
        scopes
    }

    /// Both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
        self
    }

    /// Whether a token for these is one for the others too.
    pub(crate) fn cover(&self, others: &Self) -> bool {
        others.0.iter().all(|(resource, actions)| {
            self.0.get(resource).is_some_and(|granted| granted.contains(ALL) || granted.is_superset(actions))
        })
    }

    /// One text for each resource.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let all = actions.contains(ALL).then(|| vec![ALL]);
            let actions = all.unwrap_or_else(|| actions.iter().map(String::as_str).collect());
            if actions.is_empty() { resource.clone() } else { format!("{resource}:{}", actions.join(",")) }
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_merged() {
        let merged = Scopes::parse("repository:b:push registry:catalog:* odd").and(&Scopes::pull("b"));
        assert_eq!(merged.texts(), ["odd", "registry:catalog:*", "repository:b:pull,push"]);
        assert_eq!(Scopes::parse(" repository:h:5/a:pull,,pull ").texts(), ["repository:h:5/a:pull"]);
        assert!(Scopes::parse("").texts().is_empty());
        let merged = Scopes::parse("repository:a:delete").and(&Scopes::delete("a"));
        assert_eq!(merged.texts(), ["repository:a:*"]);
    }

    #[test]
    fn more_covers_less() {
        let both = Scopes::parse("repository:a:pull,push");
        assert!(both.cover(&Scopes::pull("a")) && both.cover(&Scopes::default()));
        assert!(!both.cover(&Scopes::pull("b")) && !Scopes::pull("a").cover(&both));
        assert!(Scopes::parse("repository:a:*").cover(&both));
    }
}
