//! Other repositories of a registry, from which it may take blobs without their bytes.

use std::collections::HashMap;

use oci_spec::image::Digest;

/// Repositories that are asked for one blob: each costs a request, and another one where it is not had.
const MOST: usize = 4;

/// Repositories of one registry, and what they may have. Those that were said first are asked first.
#[derive(Clone, Debug, Default)]
pub struct Near {
    known: HashMap<Digest, Vec<String>>,
    any: Vec<String>,
}

impl Near {
    /// A repository that has a blob, as far as is known.
    pub fn has(&mut self, repository: &str, blob: &Digest) {
        let known = self.known.entry(blob.clone()).or_default();
        if known.len() <= MOST && !known.iter().any(|known| known == repository) {
            known.push(repository.to_owned());
        }
    }

    /// One that may have any blob.
    pub fn may_have(&mut self, repository: &str) {
        if self.any.len() <= MOST && !self.any.iter().any(|known| known == repository) {
            self.any.push(repository.to_owned());
        }
    }

    /// Where to ask for a blob that `repository` lacks.
    pub(crate) fn of<'n>(&'n self, blob: &Digest, repository: &'n str) -> impl Iterator<Item = &'n str> {
        let known = self.known.get(blob).map(Vec::as_slice).unwrap_or_default();
        let others = self.any.iter().filter(move |other| !known.contains(other));
        known.iter().chain(others).map(String::as_str).filter(move |other| *other != repository).take(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_asked_each_once_and_those_that_know_first() {
        let (blob, other) = (loment_store::sha256(b"blob"), loment_store::sha256(b"other"));
        let mut near = Near::default();
        for repository in ["any", "here", "b"] {
            near.may_have(repository);
        }
        for repository in ["b", "here", "a", "b"] {
            near.has(repository, &blob);
        }
        let asked = |near: &Near, blob| near.of(blob, "here").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(asked(&near, &blob), ["b", "a", "any"]);
        assert_eq!(asked(&near, &other), ["any", "b"]);
        for more in 0..100 {
            near.has(&more.to_string(), &blob);
            near.may_have(&more.to_string());
        }
        assert_eq!(asked(&near, &blob), ["b", "a", "0", "1"]);
        assert_eq!(asked(&near, &other).len(), MOST);
    }
}
