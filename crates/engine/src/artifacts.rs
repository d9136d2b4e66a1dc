//! Artifacts on lists: files that are no image, with a manifest of their own (image-spec, manifest.md, "Guidelines for Artifact
//! Usage"). The manifest is in the store. The files stay where they are and are read when the list is pushed, as for Podman, so the
//! list remembers their paths.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use loment_image::{Fetched, Place, Scratch, ShortNames, Source, raw};
use loment_store::{Algorithm, Hasher, Store, sha256};
use oci_spec::image::{Descriptor, Digest};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Context, invalid};
use crate::lists::{Described, ImageList};
use crate::transfer::{Side, look_into};
use crate::{Access, Engine, Error};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What an artifact is that nobody says anything of; oras' word.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
const TITLE: &str = "org.opencontainers.image.title";
/// What a path begins with where a list remembers it.
const FILE: &str = "file:";
/// A configuration that is larger nobody takes.
const MAX_CONFIG: usize = 4 << 20;
/// Enough of a file to tell what it may be.
const START: usize = 512;

/// What an artifact is to be.
#[derive(Clone, Debug, Default)]
pub struct NewArtifact {
    /// What it is; empty says nothing, and `None` that nobody knows.
    pub kind: Option<String>,
    /// The content of its configuration, instead of an empty one.
    pub config: Option<Vec<u8>>,
    /// What that is.
    pub config_type: Option<String>,
    /// What its files are, instead of what they seem to be.
    pub layer_type: Option<String>,
    /// Of its manifest.
    pub annotations: Vec<(String, String)>,
    /// The names of its files are left out.
    pub without_titles: bool,
    /// What it is about: an image or list of the store, or of a place.
    pub subject: Option<String>,
    /// Its files.
    pub files: Vec<PathBuf>,
}

/// The order is that of Podman's, whose manifests have the same digests then.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'m> {
    schema_version: u32,
    media_type: &'m str,
    #[serde(skip_serializing_if = "str::is_empty")]
    artifact_type: &'m str,
    config: Blob,
    layers: Vec<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'m str, &'m str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

/// What something refers to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

impl Engine {
    /// Makes an artifact of files and adds it to a list.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read; for a subject, those of [`Engine::add_to_list`].
    pub fn add_artifact(
        &self,
        list: &ImageList,
        new: &NewArtifact,
        described: &Described,
        access: &Access,
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let subject =
            new.subject.as_deref().map(|name| self.subject(name, access, short_names)).transpose()?;
        let (mut layers, mut paths) = (Vec::new(), Vec::new());
        for file in &new.files {
            let (layer, path) = layer(file, new)?;
            paths.push((layer.digest.clone(), path));
            layers.push(layer);
        }
        let (config, config_bytes) = config(new)?;
        let kind = new.kind.as_deref().unwrap_or(UNKNOWN);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            artifact_type: kind,
            config,
            layers,
            subject,
            annotations: new
                .annotations
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        };
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        let digest = sha256(&bytes);
        // Until the list keeps them.
        let lease = self.store().lease()?;
        lease.put_blob(&sha256(&config_bytes), &config_bytes)?;
        lease.put_blob(&digest, &bytes)?;
        let mut entry = json!({ "mediaType": MANIFEST, "digest": digest.as_ref(), "size": bytes.len() });
        if !kind.is_empty() {
            entry["artifactType"] = kind.into();
        }
        described.apply(&mut entry);
        self.change_list(list, |document, sources| {
            sources.extend(paths);
            if let Some(entries) = document["manifests"].as_array_mut() {
                entries.retain(|known| known["digest"] != digest.as_ref());
                entries.push(entry);
            }
            Ok(())
        })
    }

    /// Makes a list refer to an image or list, of the store or of a place.
    ///
    /// # Errors
    /// As of [`Engine::add_to_list`].
    pub fn refer_to(
        &self,
        list: &ImageList,
        subject: &str,
        access: &Access,
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let subject = self.subject(subject, access, short_names)?;
        self.change_list(list, |document, _| {
            document["subject"] = serde_json::to_value(&subject).unwrap_or_default();
            Ok(())
        })
    }

    fn subject(&self, name: &str, access: &Access, short_names: &ShortNames) -> Result<Subject, Error> {
        let of_place = |place: &Place| {
            let side = Side::new(place, access);
            let found = look_into(side, &Scratch::of(self.store()), |source, _| Ok(raw(source, None)?))?;
            let kind = serde_json::from_slice::<Value>(&found.bytes).ok();
            let kind = kind.and_then(|document| document["artifactType"].as_str().map(str::to_owned));
            Ok(Subject {
                media_type: found.media_type,
                digest: found.digest.to_string(),
                size: found.bytes.len() as u64,
                artifact_type: kind.filter(|kind| !kind.is_empty()),
            })
        };
        let odd = |e: loment_image::PlaceError| invalid("subject", name, e.to_string());
        let place = Place::parse_if_any(name).map_err(odd)?;
        let local = match &place {
            None => name,
            Some(Place::Store(local)) => local,
            Some(place) => return of_place(place),
        };
        if let Ok(list) = self.find_list(local, short_names) {
            let size = self.store().blob(&list.name.index)?.len() as u64;
            let (media_type, digest) = (INDEX.to_owned(), list.name.index.to_string());
            return Ok(Subject { media_type, digest, size, artifact_type: None });
        }
        match self.find_image(local, short_names) {
            Ok((id, _)) => {
                let own = self.descriptor(&id)?;
                let (media_type, digest) = (own.media_type().to_string(), own.digest().to_string());
                Ok(Subject { media_type, digest, size: own.size(), artifact_type: None })
            }
            Err(Error::NoImage { .. }) if place.is_none() => {
                let mut candidates = short_names.candidates(name)?;
                access.is_for_one_of(name, &candidates)?;
                of_place(&Place::Registry(candidates.swap_remove(0)))
            }
            Err(error) => Err(error),
        }
    }

    /// What is on a list by the digest of its manifest, if it is an artifact of files of this machine.
    pub(crate) fn artifact(&self, list: &ImageList, digest: &str) -> Result<Option<Artifact<'_>>, Error> {
        let Some((bytes, document)) = self.artifact_manifest(digest)? else { return Ok(None) };
        let paths = list.name.sources.iter().filter_map(|(digest, source)| {
            Some((digest.parse().ok()?, PathBuf::from(source.strip_prefix(FILE)?)))
        });
        let name = format!("artifact {digest}");
        Ok(Some(Artifact {
            store: self.store(),
            name,
            bytes,
            config: config_of(&document),
            paths: paths.collect(),
        }))
    }

    /// The manifest of an artifact that is here.
    fn artifact_manifest(&self, digest: &str) -> Result<Option<(Vec<u8>, Value)>, Error> {
        let Ok(digest) = digest.parse::<Digest>() else { return Ok(None) };
        let bytes = match self.store().blob(&digest) {
            Err(loment_store::Error::BlobMissing { .. }) => return Ok(None),
            result => result?,
        };
        let damaged = |source| Error::Damaged { path: format!("manifest {digest}"), source };
        let document: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        Ok(is_artifact(&document).then_some((bytes, document)))
    }

    /// The artifact on a list that has a file.
    pub(crate) fn artifact_with(&self, list: &ImageList, file: &str) -> Option<String> {
        let path = std::path::absolute(file).ok()?;
        let known =
            |source: &&String| source.strip_prefix(FILE).is_some_and(|known| Path::new(known) == path);
        let digests: HashSet<&String> =
            list.name.sources.iter().filter(|(_, source)| known(source)).map(|(digest, _)| digest).collect();
        let entries = list.document["manifests"].as_array()?.iter();
        let mut manifests = entries.filter_map(|entry| entry["digest"].as_str());
        let has = |manifest: &&str| {
            let found = self.artifact_manifest(manifest).ok().flatten();
            found.is_some_and(|(_, document)| {
                layers_of(&document).any(|layer| digests.iter().any(|d| **d == layer))
            })
        };
        manifests.find(has).map(str::to_owned)
    }

    /// Forgets the files of artifacts that are not in an index any more.
    pub(crate) fn forget_files(&self, document: &Value, sources: &mut BTreeMap<String, String>) {
        if !sources.values().any(|source| source.starts_with(FILE)) {
            return;
        }
        let entries = document["manifests"].as_array().into_iter().flatten();
        let manifests =
            entries.filter_map(|entry| self.artifact_manifest(entry["digest"].as_str()?).ok().flatten());
        let used: HashSet<String> =
            manifests.flat_map(|(_, document)| layers_of(&document).collect::<Vec<_>>()).collect();
        sources.retain(|digest, source| !source.starts_with(FILE) || used.contains(digest));
    }
}

/// Whether a document is the manifest of an artifact: neither an index nor an image.
pub(crate) fn is_artifact(document: &Value) -> bool {
    document["manifests"].is_null() && !is_image(document)
}

/// Whether a manifest is that of an image, which could run.
fn is_image(manifest: &Value) -> bool {
    let kind = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let config = kind(&manifest["config"]["mediaType"]);
    let is_layer = |layer: &Value| {
        let kind = kind(&layer["mediaType"]);
        ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
            .iter()
            .any(|start| kind.starts_with(start))
    };
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    kind(&manifest["artifactType"]).is_empty()
        && (config == CONFIG || config == DOCKER_CONFIG)
        && layers.iter().all(is_layer)
}

fn config_of(manifest: &Value) -> Option<Digest> {
    manifest["config"]["digest"].as_str()?.parse().ok()
}

fn layers_of(manifest: &Value) -> impl Iterator<Item = String> + '_ {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.filter_map(|layer| layer["digest"].as_str().map(str::to_owned))
}

/// The configuration of a new artifact, and its content.
fn config(new: &NewArtifact) -> Result<(Blob, Vec<u8>), Error> {
    let (media_type, bytes) = match &new.config {
        Some(bytes) => (CONFIG, bytes.clone()),
        None => (EMPTY, b"{}".to_vec()),
    };
    if bytes.len() > MAX_CONFIG {
        return Err(invalid("configuration", "", "it is larger than the 4 MiB that others take"));
    }
    let media_type = new.config_type.clone().unwrap_or_else(|| media_type.to_owned());
    // `{}` in base64, as everybody writes it.
    let data = new.config.is_none().then(|| "e30=".to_owned());
    let (digest, size) = (sha256(&bytes).to_string(), bytes.len() as u64);
    Ok((Blob { media_type, digest, size, annotations: None, data }, bytes))
}

/// A file of a new artifact, and where it is.
fn layer(file: &Path, new: &NewArtifact) -> Result<(Blob, String), Error> {
    let path = std::path::absolute(file).context("find", file.display())?;
    // A pipe would be waited for.
    if !path.metadata().context("look at", path.display())?.is_file() {
        return Err(invalid("file", path.display().to_string(), "it is no regular file"));
    }
    let Some(text) = path.to_str() else {
        return Err(invalid("file", path.display().to_string(), "its name is no UTF-8"));
    };
    let mut content = File::open(&path).context("open", path.display())?;
    let (mut hasher, mut size, mut start) = (Hasher::new(Algorithm::Sha256), 0, Vec::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.context("read", path.display())?,
        };
        start.extend_from_slice(&buffer[..count.min(START - start.len())]);
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let media_type = new.layer_type.clone().unwrap_or_else(|| kind_of(&title, &start).to_owned());
    let annotations = (!new.without_titles).then(|| BTreeMap::from([(TITLE, title)]));
    let layer = Blob { media_type, digest: hasher.finish().to_string(), size, annotations, data: None };
    Ok((layer, format!("{FILE}{text}")))
}

/// What a file seems to be: by the end of its name, or else by its first bytes (WHATWG, MIME Sniffing).
fn kind_of(name: &str, start: &[u8]) -> &'static str {
    let ends = [
        ("css", "text/css"),
        ("gif", "image/gif"),
        ("htm", "text/html"),
        ("html", "text/html"),
        ("jpeg", "image/jpeg"),
        ("jpg", "image/jpeg"),
        ("js", "text/javascript"),
        ("json", "application/json"),
        ("mjs", "text/javascript"),
        ("pdf", "application/pdf"),
        ("png", "image/png"),
        ("svg", "image/svg+xml"),
        ("wasm", "application/wasm"),
        ("webp", "image/webp"),
        ("xml", "text/xml"),
    ];
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    if let Some((_, kind)) = ends.iter().find(|(known, _)| end.as_deref() == Some(known)) {
        return kind;
    }
    let starts: [(&[u8], &str); 7] = [
        (b"%PDF-", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0asm", "application/wasm"),
    ];
    if let Some((_, kind)) = starts.iter().find(|(known, _)| start.starts_with(known)) {
        return kind;
    }
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if start.iter().any(is_binary) { "application/octet-stream" } else { "text/plain" }
}

/// An artifact on its way out.
#[derive(Debug)]
pub(crate) struct Artifact<'e> {
    store: &'e Store,
    name: String,
    bytes: Vec<u8>,
    config: Option<Digest>,
    paths: HashMap<Digest, PathBuf>,
}

impl Source for Artifact<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, _: Option<&Digest>) -> Result<Fetched, loment_image::Error> {
        Ok(Fetched { media_type: MANIFEST.to_owned(), digest: None, bytes: self.bytes.clone() })
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, loment_image::Error> {
        let digest = blob.digest();
        if self.config.as_ref() == Some(digest) {
            return Ok(Box::new(Cursor::new(self.store.blob(digest)?)));
        }
        let Some(path) = self.paths.get(digest) else {
            return Err(loment_store::Error::BlobMissing { digest: digest.clone() }.into());
        };
        let file = File::open(path).map_err(|source| loment_image::Error::File {
            operation: "open",
            path: path.display().to_string(),
            source,
        })?;
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_are_is_told_by_their_names_or_beginnings() {
        for (name, start, kind) in [
            ("a.json", &b"{}"[..], "application/json"),
            ("a.JSON", b"{}", "application/json"),
            ("a", b"plain\n", "text/plain"),
            ("a.unknown", b"", "text/plain"),
            ("json", b"\x7fELF\x02\x01\x01\0", "application/octet-stream"),
            ("a.tgz", b"\x1f\x8b\x08\0", "application/x-gzip"),
        ] {
            assert_eq!(kind_of(name, start), kind, "{name}");
        }
    }

    #[test]
    fn images_are_told_from_other_things() {
        let manifest = |kind: &str, config: &str, layer: &str| json!({ "artifactType": kind, "config": { "mediaType": config }, "layers": [{ "mediaType": layer }] });
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert!(is_image(&manifest("", CONFIG, layer)));
        assert!(is_image(&manifest("", DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar.gzip")));
        assert!(!is_image(&manifest("a/b", CONFIG, layer)));
        assert!(!is_image(&manifest("", EMPTY, layer)));
        assert!(!is_image(&manifest("", CONFIG, "text/plain")));
    }
}
