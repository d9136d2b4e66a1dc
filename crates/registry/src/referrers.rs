//! What refers to a manifest: signatures, attestations, bills of materials (distribution-spec 1.1, "Listing
//! Referrers" and "Referrers Tag Schema").
//!
//! A registry that does not keep the list has it in an index that clients maintain, under a tag made from the
//! digest. Two clients that add to it at the same time overwrite each other, and few registries heed conditions on
//! a PUT. So the index is read, put, and read again, until it says what it should; a client of another program that
//! puts its version after that still wins.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use oci_spec::image::{Descriptor, Digest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Call, Kind, Place};
use crate::error::{Error, Problem};
use crate::link::{Pages, turn};
use crate::manifest::{MAX_MANIFEST, announced_digest, media_type};
use crate::patience::Patience;
use crate::scope::Scopes;
use crate::url::form;
use crate::{Registry, digest, names};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Bytes of a list over all its pages: some 100,000 entries.
const MAX_LIST: usize = 32 << 20;
/// How often an index is put that others overwrite. Each time somebody gets through.
const MAX_ROUNDS: u32 = 20;

/// What refers to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrers {
    /// In the registry's order. That they do refer to it is for whoever fetches them to see.
    pub manifests: Vec<Descriptor>,
    /// The registry keeps the list; else it is from the tag that clients maintain.
    pub by_api: bool,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// The parts of a manifest that make it a referrer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    subject: Option<Pointer>,
    artifact_type: Option<String>,
    config: Option<Config>,
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Pointer {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: String,
}

impl Referring {
    /// Of a manifest; `None` when it refers to nothing.
    fn read(media_type: &str, bytes: &[u8]) -> Option<(Self, Digest)> {
        let parsed: Self = Some(bytes)
            .filter(|_| media_type.starts_with("application/vnd.oci."))
            .and_then(|bytes| serde_json::from_slice(bytes).ok())?;
        let subject = Digest::try_from(parsed.subject.as_ref()?.digest.as_str()).ok()?;
        names::digest(&subject).ok()?;
        Some((parsed, subject))
    }

    /// As it is to be listed.
    fn descriptor(self, media_type: &str, digest: &Digest, size: usize) -> Value {
        let mut descriptor = json!({"mediaType": media_type, "digest": digest.as_ref(), "size": size});
        if let Some(kind) = self.artifact_type.or(self.config.map(|config| config.media_type)) {
            descriptor["artifactType"] = kind.into();
        }
        if let Some(annotations) = self.annotations {
            descriptor["annotations"] = annotations.into();
        }
        descriptor
    }
}

/// The index that clients maintain.
#[derive(Default)]
struct Tagged {
    /// Identifies this version of it, where the registry says so.
    version: Option<HeaderValue>,
    /// Kept as it is, whatever else others put into it.
    index: Map<String, Value>,
}

/// What is to be true of an index.
enum Wish {
    Listed(Value),
    Gone(Digest),
}

impl Wish {
    /// Whether it is; when not, it is made so.
    fn grant(&self, manifests: &mut Vec<Value>) -> bool {
        let digest = match self {
            Self::Listed(descriptor) => descriptor["digest"].as_str(),
            Self::Gone(digest) => Some(digest.as_ref()),
        };
        let there = manifests.iter().any(|entry| entry["digest"].as_str() == digest);
        match self {
            Self::Listed(descriptor) if !there => manifests.push(descriptor.clone()),
            Self::Gone(_) if there => manifests.retain(|entry| entry["digest"].as_str() != digest),
            _ => return true,
        }
        false
    }

    fn is_true(&self, index: &Map<String, Value>) -> bool {
        let manifests = index.get("manifests").and_then(Value::as_array);
        manifests.is_some_and(|manifests| self.grant(&mut manifests.clone()))
    }
}

impl Registry {
    /// What refers to the manifest `digest`, which need not be there; of one artifact type only, when one is given.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn referrers(
        &self,
        repository: &str,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        let kept = self.kept_referrers(repository, digest, artifact_type)?;
        let by_api = kept.is_some();
        let (mut manifests, filtered) = match kept {
            Some(kept) => kept,
            None => (self.tagged_referrers(repository, digest)?, false),
        };
        if let Some(wanted) = artifact_type.filter(|_| !filtered) {
            manifests.retain(|manifest| {
                manifest.artifact_type().as_ref().is_some_and(|kind| kind.as_ref() == wanted)
            });
        }
        Ok(Referrers { manifests, by_api })
    }

    /// The registry's own list and whether it has applied the filter; `None` when it keeps none.
    fn kept_referrers(
        &self,
        repository: &str,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<(Vec<Descriptor>, bool)>, Error> {
        let query = artifact_type.map(|kind| format!("?{}", form(&[("artifactType", kind)])));
        let mut path = format!("/v2/{repository}/referrers/{digest}{}", query.unwrap_or_default());
        let object = format!("referrers of {}@{digest}", self.full_name(repository));
        let mut first =
            Call::get(Place::Registry(path.clone()), Scopes::pull(repository), object, Kind::Other);
        first.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        let (mut manifests, mut filtered, mut is_first) = (Vec::new(), true, true);
        let (mut pages, mut patience) = (Pages::new(&path, MAX_LIST), Patience::new(&self.client));
        loop {
            let call = turn(&first, path.clone());
            let (headers, bytes) = match patience.document(&self.client, &call, MAX_MANIFEST) {
                // What registries say that do not know the question.
                Err(Error::Missing { .. } | Error::Status { status: 400 | 405 | 406, .. }) if is_first => {
                    return Ok(None);
                }
                outcome => outcome?,
            };
            // Some have a page for people everywhere.
            if is_first && media_type(&headers) != INDEX {
                return Ok(None);
            }
            is_first = false;
            let next = pages.next(&self.client, &call, &path, &headers, bytes.len())?;
            let index = serde_json::from_slice::<Index>(&bytes);
            manifests.extend(index.map_err(|_| self.client.problem(&call, Problem::List))?.manifests);
            filtered &= has_filtered(&headers);
            match next {
                Some(next) => path = next,
                None => return Ok(Some((manifests, filtered))),
            }
        }
    }

    /// The list that clients maintain.
    fn tagged_referrers(&self, repository: &str, digest: &Digest) -> Result<Vec<Descriptor>, Error> {
        let call = self.call(repository, Kind::Manifest, &fallback_tag(digest));
        let Some(tagged) = self.tagged_index(&call)? else { return Ok(Vec::new()) };
        let manifests = serde_json::from_value::<Index>(tagged.index.into());
        Ok(manifests.map_err(|_| self.client.problem(&call, Problem::List))?.manifests)
    }

    /// The index under a tag; `None` when there is none.
    fn tagged_index(&self, call: &Call) -> Result<Option<Tagged>, Error> {
        let mut call = call.clone();
        call.headers.insert(ACCEPT, HeaderValue::from_static(INDEX));
        let (headers, bytes) = match self.client.document(&call, MAX_MANIFEST) {
            Err(Error::NotFound { .. }) => return Ok(None),
            outcome => outcome?,
        };
        let announced = announced_digest(&headers).map_err(|problem| self.client.problem(&call, problem))?;
        if let Some(expected) = announced
            && let Some(actual) =
                digest::of(expected.algorithm(), &bytes).filter(|actual| *actual != expected)
        {
            let (expected, actual) = (expected.into(), actual.into());
            return Err(Error::DigestMismatch { object: call.object, expected, actual });
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(index)) if index.get("manifests").is_some_and(Value::is_array) => {
                Ok(Some(Tagged { version: headers.get(ETAG).cloned(), index }))
            }
            _ => Err(self.client.problem(&call, Problem::List)),
        }
    }

    /// Sees to it that a manifest that was put is listed by its subject; which is the subject, if the registry
    /// keeps the list.
    pub(crate) fn list_referrer(
        &self,
        repository: &str,
        media_type: &str,
        bytes: &[u8],
        digest: &Digest,
        headers: &HeaderMap,
    ) -> Result<Option<Digest>, Error> {
        let Some((referring, subject)) = Referring::read(media_type, bytes) else { return Ok(None) };
        let understood = headers.get("oci-subject").and_then(|subject| subject.to_str().ok());
        if understood == Some(subject.as_ref()) {
            return Ok(Some(subject));
        }
        let descriptor = referring.descriptor(media_type, digest, bytes.len());
        self.update_tag(repository, &subject, &Wish::Listed(descriptor)).map(|()| None)
    }

    /// Sees to it that a manifest that was deleted is no longer listed by its subject.
    pub(crate) fn unlist_referrer(
        &self,
        repository: &str,
        media_type: &str,
        bytes: &[u8],
        digest: &Digest,
    ) -> Result<(), Error> {
        let Some((_, subject)) = Referring::read(media_type, bytes) else { return Ok(()) };
        if self.kept_referrers(repository, &subject, None)?.is_some() {
            return Ok(());
        }
        self.update_tag(repository, &subject, &Wish::Gone(digest.clone()))
    }

    /// Changes the list that clients maintain.
    fn update_tag(&self, repository: &str, subject: &Digest, wish: &Wish) -> Result<(), Error> {
        let tag = fallback_tag(subject);
        let get = self.call(repository, Kind::Manifest, &tag);
        // Our own threads need not race.
        let _turn = self.client.updating_referrers();
        for round in 1..=MAX_ROUNDS {
            let found = self.tagged_index(&get)?;
            let exists = found.is_some();
            let Tagged { version, mut index } = found.unwrap_or_default();
            let manifests = index.entry("manifests").or_insert_with(|| json!([]));
            if manifests.as_array_mut().is_none_or(|manifests| wish.grant(manifests))
                || (!exists && matches!(wish, Wish::Gone(_)))
            {
                return Ok(());
            }
            index.insert("schemaVersion".to_owned(), json!(2));
            index.insert("mediaType".to_owned(), json!(INDEX));
            let bytes = Value::Object(index).to_string().into_bytes();
            let mut put = self.put_call(repository, &tag, INDEX, &bytes)?;
            if bytes.len() > MAX_MANIFEST {
                let host = self.client.host.name.clone();
                return Err(Error::TooLarge { object: put.object, host, limit: MAX_MANIFEST as u64 });
            }
            // Where the registry heeds that, nothing is overwritten.
            match version {
                Some(version) => put.headers.insert(IF_MATCH, version),
                None if !exists => put.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
                None => None,
            };
            match self.client.headers(&put, &[200, 201, 202]) {
                Ok(_) if self.tagged_index(&get)?.is_some_and(|tagged| wish.is_true(&tagged.index)) => {
                    return Ok(());
                }
                Ok(_) | Err(Error::Status { status: 412, .. }) => {
                    self.client.wait(round, None, &self.cancel)?
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.client.problem(&get, Problem::Overwritten))
    }
}

/// `OCI-Filters-Applied: artifactType`.
fn has_filtered(headers: &HeaderMap) -> bool {
    let applied = headers.get("oci-filters-applied").and_then(|filters| filters.to_str().ok());
    applied.is_some_and(|filters| filters.split(',').any(|filter| filter.trim() == "artifactType"))
}

/// The tag under which clients keep what refers to a digest: at most 32 characters of the algorithm and 64 of the
/// rest.
fn fallback_tag(digest: &Digest) -> String {
    let part = |text: &str, max| text.chars().take(max).collect::<String>();
    format!("{}-{}", part(digest.algorithm().as_ref(), 32), part(digest.digest(), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_made_from_digests() {
        let sha256 = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        assert_eq!(fallback_tag(&sha256), format!("sha256-{}", "0".repeat(64)));
        let sha512 = format!("sha512:{}", "1".repeat(128)).parse().unwrap();
        assert_eq!(fallback_tag(&sha512), format!("sha512-{}", "1".repeat(64)));
    }

    #[test]
    fn referrers_are_recognised() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let read = |kind: &str, text: &str| {
            let (referring, subject) = Referring::read(kind, text.replace("DIGEST", &digest).as_bytes())?;
            Some(referring.descriptor(kind, &subject, 7))
        };
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let plain = read(kind, r#"{"subject":{"digest":"DIGEST"},"config":{"mediaType":"c"}}"#).unwrap();
        assert_eq!(plain, json!({"mediaType": kind, "digest": digest, "size": 7, "artifactType": "c"}));
        let typed = r#"{"subject":{"digest":"DIGEST"},"config":{"mediaType":"c"},"artifactType":"a","annotations":{"k":"v"}}"#;
        let typed = read(kind, typed).unwrap();
        assert_eq!((&typed["artifactType"], &typed["annotations"]), (&json!("a"), &json!({"k": "v"})));
        for nothing in [
            "",
            "{}",
            r#"{"subject":null}"#,
            r#"{"subject":{"digest":"x"}}"#,
            r#"{"subject":{"digest":"md5:00"}}"#,
        ] {
            assert_eq!(read(kind, nothing), None, "{nothing}");
        }
        assert_eq!(read("application/json", r#"{"subject":{"digest":"DIGEST"}}"#), None);
    }
}
