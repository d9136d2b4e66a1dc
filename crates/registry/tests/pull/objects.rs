//! What can be done with manifests and blobs besides fetching them: asking, storing, deleting.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::common::{Reply, Server, Then, hasty, sha256};
use crate::real::{Distribution, MANIFEST};
use loment_registry::{Credentials, Error, Head, Options, Problem, Registry};

fn at(server: &Server) -> Registry {
    Registry::new(&server.host(), hasty()).unwrap()
}

#[test]
fn a_registry_is_asked_whether_it_lets_us_in() {
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic dTpw") => Reply::new(200, &[], b"{}"),
        _ => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
    });
    let login = |password: &str| Options {
        credentials: Some(Credentials { username: "u".into(), password: password.into() }),
        ..hasty()
    };
    Registry::new(&server.host(), login("p")).unwrap().ping().unwrap();
    assert_eq!(server.paths(), ["/v2/", "/v2/"]);
    for options in [login("x"), hasty()] {
        let error = Registry::new(&server.host(), options).unwrap().ping().unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    }
    let server = Server::start(|_| Reply::new(404, &[], b""));
    let error = at(&server).ping().unwrap_err().to_string().replace(&server.host(), "HOST");
    assert_eq!(error, "registry HOST: not known to HOST");
}

#[test]
fn a_head_is_a_manifest_without_its_body() {
    let digest = sha256(b"{}");
    let announced = digest.to_string();
    let server = Server::start(move |request| {
        let headers = [("Content-Type", MANIFEST), ("Docker-Content-Digest", announced.as_str())];
        let reply = Reply::new(200, &headers, b"{}");
        if request.method == "HEAD" { reply.cut(0, Then::KeepAlive) } else { reply }
    });
    let registry = at(&server);
    let expected = Head { media_type: MANIFEST.into(), digest: Some(digest.clone()), size: Some(2) };
    assert_eq!(registry.head_manifest("a/b", "1").unwrap(), expected);
    assert_eq!(registry.head_manifest("a/b", digest.as_ref()).unwrap(), expected);
    let error = registry.head_manifest("a/b", sha256(b"other").as_ref()).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert_eq!(registry.head_blob("a/b", &digest).unwrap(), expected);
    assert!(server.requests()[0].header("accept").unwrap().contains("oci.image.index.v1"));
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_digest_of_a_stored_manifest_is_held_against_the_answer() {
    let put = |headers: &'static [(&'static str, &'static str)], reference: &str, kind: &str| {
        let server = Server::start(move |_| Reply::new(201, headers, b""));
        let outcome = at(&server).put_manifest("a/b", reference, kind, b"{}");
        (outcome, server.requests())
    };
    let (outcome, requests) = put(&[], "1", MANIFEST);
    assert_eq!(outcome.unwrap().digest, sha256(b"{}"));
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/v2/a/b/manifests/1"));
    assert_eq!((request.header("content-type"), request.body.as_str()), (Some(MANIFEST), "{}"));
    assert_eq!(request.header("content-length"), Some("2"));

    let (outcome, requests) = put(&[], sha256(b"other").as_ref(), MANIFEST);
    assert!(matches!(outcome, Err(Error::DigestMismatch { .. })) && requests.is_empty());
    let (outcome, requests) = put(&[], "1", "a\nb");
    assert!(matches!(outcome, Err(Error::MediaType { .. })) && requests.is_empty());

    let wrong = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let other: &'static [_] = Box::leak(Box::new([("Docker-Content-Digest", wrong)]));
    assert!(matches!(put(other, "1", MANIFEST).0, Err(Error::DigestMismatch { .. })));
    // Nobody can verify this one, so it is not passed on.
    let unknown = put(&[("Docker-Content-Digest", "md5:00")], "1", MANIFEST).0.unwrap();
    assert_eq!(unknown.digest, sha256(b"{}"));
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    assert_eq!(put(other, "1", signed).0.unwrap().digest.as_ref(), wrong);
}

#[test]
fn changes_are_redirected_as_they_are_or_not_at_all() {
    let elsewhere = Server::start(|_| Reply::new(201, &[], b""));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/x", elsewhere.host());
        let server = Server::start(move |request| match request.header("authorization") {
            None => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
            Some(_) => Reply::new(status, &[("Location", &location)], b""),
        });
        let credentials = Credentials { username: "u".into(), password: "p".into() };
        let options = Options { credentials: Some(credentials), ..hasty() };
        let registry = Registry::new(&server.host(), options).unwrap();
        let outcome = registry.put_manifest("a/b", "1", MANIFEST, b"{}");
        if status < 304 {
            let Err(Error::Protocol { problem, .. }) = outcome else { panic!("{status}: {outcome:?}") };
            assert_eq!(problem, Problem::RedirectedChange);
        } else {
            outcome.unwrap();
        }
    }
    assert_eq!(elsewhere.requests().len(), 2);
    for request in elsewhere.requests() {
        assert_eq!((request.method.as_str(), request.body.as_str()), ("PUT", "{}"));
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn another_host_does_not_choose_what_our_credentials_are_used_for() {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let back = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let elsewhere = {
        let back = std::sync::Arc::clone(&back);
        Server::start(move |_| {
            let location = format!("http://{}/v2/victim/manifests/1", back.lock().unwrap());
            Reply::new(307, &[("Location", &location)], b"")
        })
    };
    let away = format!("http://{}/x", elsewhere.host());
    let seen = std::sync::Arc::clone(&count);
    let server =
        Server::start(move |request| match (request.path.as_str(), request.header("authorization")) {
            ("/v2/victim/manifests/1", header) => {
                seen.fetch_add(usize::from(header.is_some()), Ordering::SeqCst);
                Reply::new(202, &[], b"")
            }
            (_, None) => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
            _ => Reply::new(307, &[("Location", &away)], b""),
        });
    *back.lock().unwrap() = server.host();
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let options = Options { credentials: Some(credentials), ..hasty() };
    Registry::new(&server.host(), options).unwrap().delete_manifest("a/b", "1").unwrap();
    assert_eq!((server.requests().len(), count.load(Ordering::SeqCst)), (3, 0));
}

#[test]
fn to_delete_a_token_for_everything_is_asked_for() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, &[], br#"{"token":"t"}"#);
        }
        if request.header("authorization") == Some("Bearer t") {
            return Reply::new(202, &[], b"");
        }
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",scope=\"repository:a/b:delete\"",
            request.header("host").unwrap()
        );
        Reply::new(401, &[("WWW-Authenticate", &challenge)], b"")
    });
    let registry = at(&server);
    registry.delete_blob("a/b", &sha256(b"x")).unwrap();
    registry.delete_manifest("a/b", "1").unwrap();
    let asked: Vec<_> = server.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    let blob = format!("DELETE /v2/a/b/blobs/{}", sha256(b"x"));
    let token = "GET /token?scope=repository%3Aa%2Fb%3A%2A".to_owned();
    assert_eq!(asked, [blob.clone(), token, blob, "DELETE /v2/a/b/manifests/1".to_owned()]);
}

#[test]
fn debians_registry_stores_and_deletes() {
    let directory = TempDir::new().unwrap();
    let Some(server) = Distribution::start(directory.path(), "") else { return };
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    registry.ping().unwrap();
    server.push_blob("a/b", b"{}");
    let config = registry.head_blob("a/b", &sha256(b"{}")).unwrap();
    assert_eq!((config.digest, config.size), (Some(sha256(b"{}")), Some(2)));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [],
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = registry.put_manifest("a/b", "1", MANIFEST, &manifest).unwrap().digest;
    assert_eq!(registry.manifest("a/b", digest.as_ref()).unwrap().bytes, manifest);
    let head = registry.head_manifest("a/b", "1").unwrap();
    let size = Some(manifest.len() as u64);
    assert_eq!(head, Head { media_type: MANIFEST.into(), digest: Some(digest.clone()), size });
    for missing in ["2", sha256(b"no").as_ref()] {
        let error = registry.head_manifest("a/b", missing).unwrap_err();
        assert!(matches!(error, Error::NotFound { blob: false, .. }), "{error:?}");
    }
    let error = registry.head_blob("a/b", &sha256(b"no")).unwrap_err();
    assert!(matches!(error, Error::NotFound { blob: true, .. }), "{error:?}");
    let error = registry.put_manifest("a/b", "1", MANIFEST, b"nonsense").unwrap_err();
    assert!(matches!(error, Error::Status { status: 400, .. }), "{error:?}");
    // It is not configured to.
    let error = registry.delete_manifest("a/b", digest.as_ref()).unwrap_err();
    assert!(matches!(error, Error::Status { status: 405, .. }), "{error:?}");

    let directory = TempDir::new().unwrap();
    let deleting = ", delete: {enabled: true}";
    let server = Distribution::start_with(directory.path(), deleting, "").unwrap();
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    server.push_blob("a/b", b"{}");
    registry.put_manifest("a/b", "1", MANIFEST, &manifest).unwrap();
    // This version deletes no tags.
    assert!(registry.delete_manifest("a/b", "1").is_err());
    registry.delete_manifest("a/b", digest.as_ref()).unwrap();
    assert!(matches!(registry.head_manifest("a/b", "1"), Err(Error::NotFound { .. })));
    registry.delete_blob("a/b", &sha256(b"{}")).unwrap();
    assert!(matches!(registry.head_blob("a/b", &sha256(b"{}")), Err(Error::NotFound { .. })));
    assert!(matches!(registry.delete_blob("a/b", &sha256(b"{}")), Err(Error::NotFound { .. })));
}
