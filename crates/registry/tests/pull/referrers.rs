//! What refers to a manifest: registries that keep the list, and those where clients do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use oci_spec::image::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Reply, Request, Server, hasty, sha256};
use crate::real::{Distribution, MANIFEST};
use loment_registry::{Error, Problem, Registry};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn at(server: &Server) -> Registry {
    Registry::new(&server.host(), hasty()).unwrap()
}

/// An artifact of a type that refers to a digest.
fn artifact(subject: &Digest, kind: &str) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": CONFIG, "digest": sha256(b"{}"), "size": 2},
        "layers": [],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 7},
        "annotations": {"by": "test"},
    });
    manifest.to_string().into_bytes()
}

fn index(manifests: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
}

fn entry(content: &[u8], kind: &str) -> Value {
    json!({"mediaType": MANIFEST, "digest": sha256(content), "size": content.len(), "artifactType": kind})
}

fn digests(registry: &Registry, subject: &Digest, kind: Option<&str>) -> Vec<String> {
    let referrers = registry.referrers("a/b", subject, kind).unwrap();
    referrers.manifests.iter().map(|manifest| manifest.digest().to_string()).collect()
}

/// A registry of manifests without the referrers API; `disturb` is called after each is put.
fn plain(disturb: impl Fn(&Request, &mut HashMap<String, Vec<u8>>) + Send + Sync + 'static) -> Server {
    let kept = Mutex::new(HashMap::new());
    Server::start(move |request| {
        let mut kept = kept.lock().unwrap();
        let Some(name) = request.path.strip_prefix("/v2/a/b/manifests/") else {
            return Reply::new(404, &[], b"404 page not found");
        };
        match request.method.as_str() {
            "PUT" => {
                kept.insert(name.to_owned(), request.bytes.clone());
                disturb(request, &mut kept);
                Reply::new(201, &[], b"")
            }
            "DELETE" => Reply::new(if kept.remove(name).is_some() { 202 } else { 404 }, &[], b""),
            _ => match kept.get(name) {
                Some(bytes) => {
                    let tagged = name.starts_with("sha256-");
                    let version = format!("\"{}\"", sha256(bytes));
                    let kind = if tagged { INDEX } else { MANIFEST };
                    Reply::new(200, &[("Content-Type", kind), ("ETag", &version)], bytes)
                }
                None => Reply::new(404, &[], b"{}"),
            },
        }
    })
}

#[test]
fn a_registry_that_keeps_the_list_is_asked_page_by_page() {
    let subject = sha256(b"subject");
    let server = Server::start(|request| {
        assert!(request.header("accept").unwrap().contains(INDEX));
        if request.path.contains("page=2") {
            return Reply::new(200, &[("Content-Type", INDEX)], &index(&[entry(b"2", "b")]));
        }
        let link = format!(
            "<{}{}page=2>; rel=\"next\"",
            request.path,
            if request.path.contains('?') { '&' } else { '?' }
        );
        Reply::new(200, &[("Content-Type", INDEX), ("Link", &link)], &index(&[entry(b"1", "a/x+y")]))
    });
    let registry = at(&server);
    assert_eq!(digests(&registry, &subject, None), [sha256(b"1").to_string(), sha256(b"2").to_string()]);
    assert_eq!(server.paths()[0], format!("/v2/a/b/referrers/{subject}"));
    // It has not filtered, so we do.
    assert_eq!(digests(&registry, &subject, Some("a/x+y")), [sha256(b"1").to_string()]);
    assert_eq!(server.paths()[2], format!("/v2/a/b/referrers/{subject}?artifactType=a%2Fx%2By"));
    assert!(registry.referrers("a/b", &subject, None).unwrap().by_api);
    // It says that it has, so its word is good.
    let server = Server::start(|_| {
        let headers = [("Content-Type", INDEX), ("OCI-Filters-Applied", "x, artifactType")];
        Reply::new(
            200,
            &headers,
            &index(&[json!({"mediaType": MANIFEST, "digest": sha256(b"1"), "size": 1})]),
        )
    });
    assert_eq!(digests(&at(&server), &subject, Some("a")).len(), 1);
}

#[test]
fn without_the_list_there_is_a_tag() {
    let subject = sha256(b"subject");
    let tag = format!("/v2/a/b/manifests/{}", subject.as_ref().replace(':', "-"));
    for status in [400, 404, 405, 406, 200] {
        let path = tag.clone();
        let server = Server::start(move |request| match request.path == path {
            true => {
                Reply::new(200, &[("Content-Type", INDEX)], &index(&[entry(b"1", "a"), entry(b"2", "b")]))
            }
            // The last one has a page for people everywhere.
            false => Reply::new(status, &[("Content-Type", "text/html")], b"<html>"),
        });
        assert_eq!(digests(&at(&server), &subject, Some("b")), [sha256(b"2").to_string()]);
        assert!(!at(&server).referrers("a/b", &subject, None).unwrap().by_api);
    }
    assert!(digests(&at(&plain(|_, _| ())), &subject, None).is_empty());
    for status in [401, 403, 500] {
        let server = Server::start(move |_| Reply::new(status, &[], b""));
        assert!(at(&server).referrers("a/b", &subject, None).is_err(), "{status}");
    }
}

#[test]
fn what_is_no_list_is_refused() {
    let subject = sha256(b"subject");
    let outcome = |api: bool, body: &'static str| {
        let server = Server::start(move |request| match request.path.contains("/referrers/") == api {
            true => Reply::new(200, &[("Content-Type", INDEX)], body.as_bytes()),
            false => Reply::new(404, &[], b""),
        });
        match at(&server).referrers("a/b", &subject, None) {
            Err(Error::Protocol { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    for body in ["", "[]", "{}", r#"{"manifests":{}}"#, r#"{"manifests":[{"digest":"../x"}]}"#] {
        assert_eq!(outcome(true, body), Problem::List, "{body}");
        assert_eq!(outcome(false, body), Problem::List, "{body}");
    }
    // Pages without end.
    let server = Server::start(|request| {
        let page = request.path.split_once('=').map_or(0, |(_, n)| n.parse::<usize>().unwrap()) + 1;
        let link = format!("<?n={page}>; rel=next");
        let padding = " ".repeat(3 << 20);
        let body = format!(r#"{{"manifests":[]{padding}}}"#);
        Reply::new(200, &[("Content-Type", INDEX), ("Link", &link)], body.as_bytes())
    });
    assert!(matches!(at(&server).referrers("a/b", &subject, None), Err(Error::TooLarge { .. })));
}

#[test]
fn a_registry_that_keeps_the_list_says_so() {
    let subject = sha256(b"subject");
    let understood = subject.to_string();
    let server = Server::start(move |_| Reply::new(201, &[("OCI-Subject", &understood)], b""));
    let put = at(&server).put_manifest("a/b", "1", MANIFEST, &artifact(&subject, "a")).unwrap();
    assert_eq!(put.subject, Some(subject));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn else_we_keep_it() {
    let subject = sha256(b"subject");
    let server = plain(|_, _| ());
    let registry = at(&server);
    let (first, second) = (artifact(&subject, "a"), artifact(&subject, "b"));
    for content in [&first, &second, &first] {
        let digest = sha256(content);
        let put = registry.put_manifest("a/b", digest.as_ref(), MANIFEST, content).unwrap();
        assert_eq!((put.subject, put.digest), (None, digest));
    }
    assert_eq!(digests(&registry, &subject, None), [sha256(&first).to_string(), sha256(&second).to_string()]);
    let listed = registry.referrers("a/b", &subject, Some("b")).unwrap().manifests.remove(0);
    assert_eq!(
        (listed.size(), listed.annotations().as_ref().unwrap()["by"].as_str()),
        (second.len() as u64, "test")
    );
    let puts: Vec<_> =
        server.requests().into_iter().filter(|r| r.method == "PUT" && r.path.contains("sha256-")).collect();
    assert_eq!(puts.len(), 2);
    assert_eq!((puts[0].header("if-none-match"), puts[0].header("if-match")), (Some("*"), None));
    assert!(puts[1].header("if-match").is_some());
    registry.delete_manifest("a/b", sha256(&first).as_ref()).unwrap();
    assert_eq!(digests(&registry, &subject, None), [sha256(&second).to_string()]);
    registry.delete_manifest("a/b", sha256(&second).as_ref()).unwrap();
    assert!(digests(&registry, &subject, None).is_empty());
    // What refers to nothing leaves no tag.
    let alone = json!({"schemaVersion": 2, "mediaType": MANIFEST}).to_string().into_bytes();
    let before = server.requests().len();
    registry.put_manifest("a/b", "2", MANIFEST, &alone).unwrap();
    assert_eq!(server.requests().len(), before + 1);
}

#[test]
fn what_others_keep_in_the_list_stays() {
    let subject = sha256(b"subject");
    let tag = subject.as_ref().replace(':', "-");
    let server = plain(|_, _| ());
    let registry = at(&server);
    let theirs = json!({"schemaVersion": 2, "mediaType": INDEX, "x": 1, "manifests": [{"mediaType": "m", "digest": sha256(b"0"), "size": 1, "y": 2}]});
    registry.put_manifest("a/b", &tag, INDEX, theirs.to_string().as_bytes()).unwrap();
    let ours = artifact(&subject, "a");
    registry.put_manifest("a/b", "1", MANIFEST, &ours).unwrap();
    let now: Value = serde_json::from_slice(&registry.manifest("a/b", &tag).unwrap().bytes).unwrap();
    assert_eq!((&now["x"], &now["manifests"][0]["y"]), (&json!(1), &json!(2)));
    assert_eq!(now["manifests"][1]["digest"], json!(sha256(&ours)));
}

#[test]
fn a_list_that_others_overwrite_is_put_again() {
    let subject = sha256(b"subject");
    let overwrite = |times: usize| {
        let count = Arc::new(Mutex::new(0));
        let server = plain(move |request, kept| {
            let mut count = count.lock().unwrap();
            if request.path.contains("sha256-") && *count < times {
                *count += 1;
                let name = request.path.rsplit('/').next().unwrap();
                kept.insert(name.to_owned(), index(&[entry(&[*count as u8], "other")]));
            }
        });
        let ours = artifact(&subject, "a");
        let registry = at(&server);
        registry.put_manifest("a/b", "1", MANIFEST, &ours)?;
        assert_eq!(digests(&registry, &subject, Some("a")), [sha256(&ours).to_string()]);
        assert_eq!(digests(&registry, &subject, Some("other")).len(), 1);
        Ok::<_, Error>(())
    };
    overwrite(3).unwrap();
    let error = overwrite(usize::MAX).unwrap_err();
    assert!(matches!(error, Error::Protocol { problem: Problem::Overwritten, .. }), "{error:?}");
}

#[test]
fn debians_registry_lets_clients_keep_the_list() {
    let directory = TempDir::new().unwrap();
    let Some(server) = Distribution::start(directory.path(), "") else { return };
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    registry.put_blob("a/b", &sha256(b"{}"), b"{}").unwrap();
    let image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": {"mediaType": CONFIG, "digest": sha256(b"{}"), "size": 2}});
    let subject = registry.put_manifest("a/b", "1", MANIFEST, image.to_string().as_bytes()).unwrap().digest;
    assert!(digests(&registry, &subject, None).is_empty());
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (registry, subject) = (&registry, &subject);
            scope.spawn(move || {
                let content = artifact(subject, &format!("application/x-{n}"));
                let digest = sha256(&content);
                registry.put_manifest("a/b", digest.as_ref(), MANIFEST, &content).unwrap();
            });
        }
    });
    assert_eq!(digests(&registry, &subject, None).len(), 6);
    let third = registry.referrers("a/b", &subject, Some("application/x-3")).unwrap();
    let fetched = registry.manifest("a/b", third.manifests[0].digest().as_ref()).unwrap();
    assert_eq!((third.by_api, fetched.bytes), (false, artifact(&subject, "application/x-3")));
}
