//! A small registry of today's kind: what Debian's docker-registry is too old for.
//!
//! It is the distribution specification 1.1 in a few hundred lines: blobs, whole, in chunks and mounted from anywhere;
//! manifests; tags by pages; deletion of a tag alone; and the list of what refers to a manifest, unless that is switched
//! off. Everything is in memory and goes with the [`OciRegistry`]. There are no logins and no TLS.

mod http;

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::digest;
use http::{Request, Response};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Bytes that are kept.
const MAX_KEPT: usize = 512 << 20;
/// Connections at a time, unfinished uploads, and requests that are remembered.
const MAX_CONNECTIONS: usize = 64;
const MAX_UPLOADS: usize = 1000;
const MAX_REMEMBERED: usize = 100_000;
/// Entries on a page of a list, so that nobody gets along without asking for the next one.
const REFERRERS_PAGE: usize = 2;
const TAGS_PAGE: usize = 100;

/// Who keeps the list of what refers to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// The registry, which also filters it.
    Kept,
    /// The registry, which leaves filtering to who asks.
    Unfiltered,
    /// Clients, under a tag.
    Unknown,
}

/// A running registry.
#[derive(Debug)]
pub struct OciRegistry {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    referrers: Referrers,
    stopped: AtomicBool,
    connections: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    /// By number; of a repository.
    uploads: HashMap<u64, (String, Vec<u8>)>,
    begun: u64,
    kept: usize,
    requests: Vec<String>,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeMap<String, Arc<[u8]>>,
    /// With their media types.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
}

impl OciRegistry {
    /// An empty registry on a free port of 127.0.0.1.
    pub fn start(referrers: Referrers) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("127.0.0.1 has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            referrers,
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            state: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || listen(&listener, &all));
        Self { port, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// `METHOD TARGET` of every request, in their order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// The manifest that a tag or digest of a repository names, byte by byte.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        state.repositories.get(repository)?.manifest(reference).map(|(_, _, bytes)| bytes.to_vec())
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Whoever waits for connections gets one.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        if shared.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        std::thread::spawn(move || {
            // What is wrong with a connection, its peer notices.
            drop(http::converse(stream, |request| shared.answer(request)));
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl Repository {
    /// Digest, media type and bytes.
    fn manifest(&self, reference: &str) -> Option<(&str, &str, &[u8])> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let (digest, (media_type, bytes)) = self.manifests.get_key_value(digest)?;
        Some((digest, media_type, bytes))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when it is no longer there to answer.
    fn answer(&self, request: &Request) -> Option<Response> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let mut state = self.state();
        if state.requests.len() < MAX_REMEMBERED {
            state.requests.push(format!("{} {}", request.method, request.target));
        }
        Some(self.route(&mut state, request))
    }

    fn route(&self, state: &mut State, request: &Request) -> Response {
        let Some(path) = request.path().strip_prefix("/v2/") else {
            return Response::error(404, "NAME_UNKNOWN");
        };
        if path.is_empty() {
            return Response::new(200);
        }
        let parts =
            |word: &str| path.rsplit_once(word).map(|(name, rest)| (name.to_owned(), rest.to_owned()));
        if let Some((name, upload)) = parts("/blobs/uploads/") {
            state.upload(&name, &upload, request)
        } else if let Some((name, digest)) = parts("/blobs/") {
            state.blob(&name, &digest, request)
        } else if let Some((name, reference)) = parts("/manifests/") {
            match request.method.as_str() {
                "PUT" => state.put_manifest(&name, &reference, request, self.referrers),
                "DELETE" => state.delete_manifest(&name, &reference),
                _ => state.manifest(&name, &reference),
            }
        } else if let Some(name) = path.strip_suffix("/tags/list") {
            state.tags(name, request)
        } else if let Some((name, digest)) =
            parts("/referrers/").filter(|_| self.referrers != Referrers::Unknown)
        {
            state.referrers(&name, &digest, request, self.referrers == Referrers::Kept)
        } else {
            Response::error(404, "NAME_UNKNOWN")
        }
    }
}

impl State {
    /// A blob as a whole or from somewhere on.
    fn blob(&mut self, name: &str, digest: &str, request: &Request) -> Response {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        let Some(bytes) = repository.blobs.get(digest) else { return Response::error(404, "BLOB_UNKNOWN") };
        if request.method == "DELETE" {
            repository.blobs.remove(digest);
            return Response::new(202);
        }
        let response = |status| {
            let response = Response::new(status).with("Content-Type", "application/octet-stream");
            response.with("Docker-Content-Digest", digest).with("Accept-Ranges", "bytes")
        };
        let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
            return response(200).body(bytes.to_vec());
        };
        let (from, to) = range.split_once('-').unwrap_or_default();
        let last = to.parse().unwrap_or(usize::MAX).min(bytes.len().saturating_sub(1));
        match from.parse().ok().and_then(|from: usize| Some((from, bytes.get(from..=last)?))) {
            Some((from, part)) if !part.is_empty() => {
                let range = format!("bytes {from}-{last}/{}", bytes.len());
                response(206).with("Content-Range", range).body(part)
            }
            _ => Response::new(416).with("Content-Range", format!("bytes */{}", bytes.len())),
        }
    }

    /// Everything below `blobs/uploads/`.
    fn upload(&mut self, name: &str, id: &str, request: &Request) -> Response {
        if request.method == "POST" {
            return self.begin(name, request);
        }
        let id = id.parse().unwrap_or_default();
        let Some((_, bytes)) = self.uploads.get_mut(&id).filter(|(of, _)| of == name) else {
            return Response::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        // As far as it came; of nothing, what docker-registry says.
        let so_far = |bytes: &[u8]| format!("0-{}", bytes.len().saturating_sub(1));
        let response = |status, bytes: &[u8]| {
            let location = format!("/v2/{name}/blobs/uploads/{id}");
            Response::new(status).with("Location", location).with("Range", so_far(bytes))
        };
        let begins = request.header("content-range").map(|range| range.trim_start_matches("bytes "));
        let begins = begins.and_then(|range| range.split('-').next()?.parse::<usize>().ok());
        if !request.body.is_empty() && begins.is_some_and(|begins| begins != bytes.len()) {
            return response(416, bytes);
        }
        match request.method.as_str() {
            "GET" | "HEAD" => response(204, bytes),
            "PATCH" => {
                if self.kept + request.body.len() > MAX_KEPT {
                    return Response::error(413, "SIZE_INVALID");
                }
                self.kept += request.body.len();
                bytes.extend_from_slice(&request.body);
                response(202, bytes)
            }
            "PUT" => {
                let (_, mut bytes) = self.uploads.remove(&id).unwrap_or_default();
                bytes.extend_from_slice(&request.body);
                self.keep(name, bytes, request)
            }
            _ => {
                self.uploads.remove(&id);
                Response::new(204)
            }
        }
    }

    /// Mounts a blob, takes one that comes along, or waits for one.
    fn begin(&mut self, name: &str, request: &Request) -> Response {
        if let Some(wanted) = request.query("mount") {
            let from = request.query("from");
            let mut places =
                self.repositories.iter().filter(|(place, _)| from.as_ref().is_none_or(|f| f == *place));
            if let Some(bytes) = places.find_map(|(_, repository)| repository.blobs.get(&wanted).cloned()) {
                self.repositories.entry(name.to_owned()).or_default().blobs.insert(wanted.clone(), bytes);
                return stored(name, "blobs", &wanted);
            }
        } else if request.query("digest").is_some() {
            return self.keep(name, request.body.clone(), request);
        }
        if self.uploads.len() >= MAX_UPLOADS {
            return Response::error(429, "TOOMANYREQUESTS");
        }
        self.begun += 1;
        self.uploads.insert(self.begun, (name.to_owned(), Vec::new()));
        Response::new(202).with("Location", format!("/v2/{name}/blobs/uploads/{}", self.begun))
    }

    /// Keeps a blob, if it is the one it is said to be.
    fn keep(&mut self, name: &str, bytes: Vec<u8>, request: &Request) -> Response {
        let digest = digest(&bytes);
        if request.query("digest").as_ref() != Some(&digest) {
            return Response::error(400, "DIGEST_INVALID");
        }
        if self.kept + bytes.len() > MAX_KEPT {
            return Response::error(413, "SIZE_INVALID");
        }
        self.kept += bytes.len();
        self.repositories.entry(name.to_owned()).or_default().blobs.insert(digest.clone(), bytes.into());
        stored(name, "blobs", &digest)
    }

    fn manifest(&self, name: &str, reference: &str) -> Response {
        let found = self.repositories.get(name).and_then(|repository| repository.manifest(reference));
        let Some((digest, media_type, bytes)) = found else {
            return Response::error(404, "MANIFEST_UNKNOWN");
        };
        let response = Response::new(200).with("Content-Type", media_type);
        response.with("Docker-Content-Digest", digest).body(bytes)
    }

    /// Keeps a manifest whose parts are there. Its subject need not be.
    fn put_manifest(
        &mut self,
        name: &str,
        reference: &str,
        request: &Request,
        referrers: Referrers,
    ) -> Response {
        let invalid = || Response::error(400, "MANIFEST_INVALID");
        let Ok(manifest) = serde_json::from_slice::<Value>(&request.body) else { return invalid() };
        let Some(media_type) = request.header("content-type") else { return invalid() };
        if manifest["mediaType"].as_str().is_some_and(|said| said != media_type) {
            return invalid();
        }
        let digest = digest(&request.body);
        if reference.contains(':') && reference != digest {
            return Response::error(400, "DIGEST_INVALID");
        }
        let repository = self.repositories.entry(name.to_owned()).or_default();
        let list = |key: &str| manifest[key].as_array().into_iter().flatten();
        // Layers with addresses may be there, and nowhere else.
        let layers = list("layers").filter(|layer| layer["urls"].as_array().is_none_or(Vec::is_empty));
        let blobs = layers.chain(manifest.get("config")).map(|part| &part["digest"]);
        let has_blob = |digest: &Value| digest.as_str().is_some_and(|d| repository.blobs.contains_key(d));
        let has_manifest =
            |part: &Value| part["digest"].as_str().is_some_and(|d| repository.manifests.contains_key(d));
        // A list of referrers, which clients keep, may mention any.
        let is_fallback = reference.starts_with("sha256-");
        if !blobs.into_iter().all(has_blob) || !(is_fallback || list("manifests").all(has_manifest)) {
            return Response::error(404, "MANIFEST_BLOB_UNKNOWN");
        }
        if self.kept + request.body.len() > MAX_KEPT {
            return Response::error(413, "SIZE_INVALID");
        }
        self.kept += request.body.len();
        repository.manifests.insert(digest.clone(), (media_type.to_owned(), request.body.clone()));
        if reference != digest {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        let response = stored(name, "manifests", &digest);
        match manifest["subject"]["digest"].as_str() {
            Some(subject) if referrers != Referrers::Unknown => response.with("OCI-Subject", subject),
            _ => response,
        }
    }

    /// A tag goes alone, a manifest with its tags.
    fn delete_manifest(&mut self, name: &str, reference: &str) -> Response {
        let repository = self.repositories.entry(name.to_owned()).or_default();
        if repository.tags.remove(reference).is_none() {
            if repository.manifests.remove(reference).is_none() {
                return Response::error(404, "MANIFEST_UNKNOWN");
            }
            repository.tags.retain(|_, digest| digest != reference);
        }
        Response::new(202)
    }

    fn tags(&self, name: &str, request: &Request) -> Response {
        let Some(repository) = self.repositories.get(name) else {
            return Response::error(404, "NAME_UNKNOWN");
        };
        let last = request.query("last").unwrap_or_default();
        let count = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(TAGS_PAGE);
        let rest: Vec<_> = repository.tags.keys().filter(|tag| **tag > last).collect();
        let page = &rest[..count.min(rest.len())];
        let body = json!({ "name": name, "tags": page }).to_string();
        let response = Response::new(200).with("Content-Type", "application/json").body(body);
        match page.last().filter(|_| page.len() < rest.len()) {
            Some(last) => next(response, &format!("/v2/{name}/tags/list?n={count}&last={last}")),
            None => response,
        }
    }

    /// What refers to a digest, in the order of digests.
    fn referrers(&self, name: &str, subject: &str, request: &Request, filters: bool) -> Response {
        let wanted = request.query("artifactType").filter(|_| filters);
        let skipped = request.query("skip").and_then(|n| n.parse().ok()).unwrap_or(0);
        let manifests = self.repositories.get(name).map(|repository| &repository.manifests);
        let all = manifests.into_iter().flatten().filter_map(|(digest, (media_type, bytes))| {
            let manifest: Value = serde_json::from_slice(bytes).ok()?;
            (manifest["subject"]["digest"] == subject)
                .then(|| entry(digest, media_type, bytes.len(), &manifest))
        });
        let all: Vec<_> = all
            .filter(|entry| wanted.as_ref().is_none_or(|wanted| entry["artifactType"] == **wanted))
            .collect();
        let page: Vec<_> = all.iter().skip(skipped).take(REFERRERS_PAGE).collect();
        let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page }).to_string();
        let mut response = Response::new(200).with("Content-Type", INDEX).body(body);
        if wanted.is_some() {
            response = response.with("OCI-Filters-Applied", "artifactType");
        }
        let shown = skipped + page.len();
        if shown >= all.len() {
            return response;
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let filter = query.split('&').find(|pair| pair.starts_with("artifactType=")).unwrap_or_default();
        next(response, &format!("{}?skip={shown}&{filter}", request.path()))
    }
}

/// A manifest as it is listed.
fn entry(digest: &str, media_type: &str, size: usize, manifest: &Value) -> Value {
    let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": size });
    let kind = [&manifest["artifactType"], &manifest["config"]["mediaType"]]
        .into_iter()
        .find(|kind| kind.is_string());
    for (key, value) in [("artifactType", kind), ("annotations", manifest.get("annotations"))] {
        if let Some(value) = value {
            entry[key] = value.clone();
        }
    }
    entry
}

fn stored(name: &str, kind: &str, digest: &str) -> Response {
    Response::new(201)
        .with("Location", format!("/v2/{name}/{kind}/{digest}"))
        .with("Docker-Content-Digest", digest)
}

fn next(response: Response, target: &str) -> Response {
    response.with("Link", format!("<{target}>; rel=\"next\""))
}
