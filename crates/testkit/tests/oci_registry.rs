//! The small registry, against skopeo and request by request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use loment_testkit::{
    Compression, Config, Entry, Image, Layer, Layout, OciRegistry, Patience, Referrers, Variant, digest, run,
};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Status, head and body of the answer.
fn ask(
    registry: &OciRegistry,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for header in headers.iter().copied().chain([format!("Content-Length: {}", body.len()).as_str()]) {
        head += &format!("{header}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name}: {head}"))
}

fn put_blob(registry: &OciRegistry, repository: &str, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    let target = format!("/v2/{repository}/blobs/uploads/?digest={}", digest.replace(':', "%3A"));
    assert_eq!(ask(registry, "POST", &target, &[], bytes).0, 201);
    digest
}

/// Puts a manifest of a type, which may refer to another; its digest and the head of the answer.
fn put(registry: &OciRegistry, tag: &str, kind: &str, subject: Option<&str>) -> (String, String) {
    let config = json!({ "mediaType": kind, "digest": put_blob(registry, "a/b", b"{}"), "size": 2 });
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    manifest["annotations"] = json!({ "tag": tag });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": subject, "size": 1 });
    }
    let bytes = manifest.to_string().into_bytes();
    let target = format!("/v2/a/b/manifests/{tag}");
    let (status, head, _) = ask(registry, "PUT", &target, &[&format!("Content-Type: {MANIFEST}")], &bytes);
    assert_eq!(status, 201, "{head}");
    (digest(&bytes), head)
}

#[test]
fn skopeo_gets_what_it_has_pushed() {
    let dir = tempfile::Builder::new().prefix("loment-test-").tempdir_in("/tmp").unwrap();
    let mut layout = Layout::create(&dir.path().join("layout"));
    let image = |arch: &str| {
        let layer = Layer::of([Entry::file("arch", arch)]);
        Image::new(Config::shell(), [layer.into()]).on("linux", arch)
    };
    layout.add_index("x", &[image("amd64"), image("arm64")], Compression::Gzip, true);
    let registry = OciRegistry::start(Referrers::Kept);
    layout.push("x", &registry.name("team/app:1"), Variant::AsIs);
    let back = format!("oci:{}:x", dir.path().join("back").display());
    let place = format!("docker://{}", registry.name("team/app:1"));
    let copy =
        ["--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", &place, &back];
    run(Command::new("skopeo").args(copy), Patience::NORMAL).succeeds();
    let raw = run(Command::new("skopeo").args(["inspect", "--raw", &back]), Patience::NORMAL);
    assert_eq!(raw.succeeds().as_bytes(), registry.manifest("team/app", "1").unwrap());
    let sent = registry.requests().iter().filter(|r| r.starts_with("PATCH ")).count();
    assert!(sent > 0, "{:?}", registry.requests());
}

#[test]
fn blobs_come_in_chunks_and_go_in_parts() {
    let registry = OciRegistry::start(Referrers::Kept);
    let at = |head: &str| header(head, "Location").to_owned();
    let (status, head, _) = ask(&registry, "POST", "/v2/a/b/blobs/uploads/", &[], b"");
    assert_eq!(status, 202);
    let (status, ..) = ask(&registry, "PATCH", &at(&head), &["Content-Range: 0-3"], b"0123");
    assert_eq!(status, 202);
    // Not where it goes on.
    let (status, refused, _) = ask(&registry, "PATCH", &at(&head), &["Content-Range: 6-7"], b"67");
    assert_eq!((status, header(&refused, "Range")), (416, "0-3"));
    let (status, known, _) = ask(&registry, "GET", &at(&head), &[], b"");
    assert_eq!((status, header(&known, "Range")), (204, "0-3"));
    let digest = digest(b"01234567");
    let end = format!("{}?digest={digest}", at(&head));
    assert_eq!(ask(&registry, "PUT", &end, &["Content-Range: 4-7"], b"4567").0, 201);
    assert_eq!(ask(&registry, "PUT", &end, &[], b"").0, 404);
    let blob = format!("/v2/a/b/blobs/{digest}");
    let (status, head, body) = ask(&registry, "HEAD", &blob, &[], b"");
    assert_eq!((status, header(&head, "Content-Length"), body.len()), (200, "8", 0));
    assert_eq!(ask(&registry, "GET", &blob, &[], b"").2, b"01234567");
    let (status, head, body) = ask(&registry, "GET", &blob, &["Range: bytes=2-4"], b"");
    assert_eq!((status, header(&head, "Content-Range"), &*body), (206, "bytes 2-4/8", &b"234"[..]));
    assert_eq!(ask(&registry, "GET", &blob, &["Range: bytes=6-"], b"").2, b"67");
    assert_eq!(ask(&registry, "GET", &blob, &["Range: bytes=8-"], b"").0, 416);
    // From one repository into another; from nowhere.
    for (query, status) in [("&from=a/b", 201), ("", 201), ("&from=x", 202)] {
        let target = format!("/v2/c/blobs/uploads/?mount={digest}{query}");
        assert_eq!(ask(&registry, "POST", &target, &[], b"").0, status, "{query}");
    }
    assert_eq!(ask(&registry, "GET", &format!("/v2/c/blobs/{digest}"), &[], b"").2, b"01234567");
    let wrong = format!("/v2/a/b/blobs/uploads/?digest={digest}");
    assert_eq!(ask(&registry, "POST", &wrong, &[], b"other").0, 400);
    assert_eq!(ask(&registry, "DELETE", &blob, &[], b"").0, 202);
    assert_eq!(ask(&registry, "GET", &blob, &[], b"").0, 404);
}

#[test]
fn tags_are_listed_by_pages_and_deleted_alone() {
    let registry = OciRegistry::start(Referrers::Kept);
    let (digest, _) = put(&registry, "c", "x", None);
    for tag in ["a", "b"] {
        put(&registry, tag, "x", None);
    }
    let (_, head, body) = ask(&registry, "GET", "/v2/a/b/tags/list?n=2", &[], b"");
    assert_eq!(body, br#"{"name":"a/b","tags":["a","b"]}"#);
    let link = header(&head, "Link").strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let (_, head, body) = ask(&registry, "GET", link, &[], b"");
    assert_eq!(body, br#"{"name":"a/b","tags":["c"]}"#);
    assert!(!head.contains("Link"), "{head}");
    assert_eq!(ask(&registry, "DELETE", "/v2/a/b/manifests/c", &[], b"").0, 202);
    assert_eq!(ask(&registry, "GET", "/v2/a/b/manifests/c", &[], b"").0, 404);
    let by_digest = format!("/v2/a/b/manifests/{digest}");
    assert_eq!(ask(&registry, "GET", &by_digest, &[], b"").0, 200);
    assert_eq!(ask(&registry, "DELETE", &by_digest, &[], b"").0, 202);
    assert_eq!(ask(&registry, "GET", &by_digest, &[], b"").0, 404);
    // What has parts that are not there is not kept.
    let manifest = json!({ "schemaVersion": 2, "config": { "digest": digest } }).to_string();
    let kind = format!("Content-Type: {MANIFEST}");
    let put = |target: &str| ask(&registry, "PUT", target, &[&kind], manifest.as_bytes()).0;
    assert_eq!((put("/v2/a/b/manifests/d"), put(&by_digest)), (404, 400));
}

#[test]
fn what_refers_to_a_manifest_is_listed_where_that_is_switched_on() {
    for referrers in [Referrers::Kept, Referrers::Unfiltered, Referrers::Unknown] {
        let registry = OciRegistry::start(referrers);
        let (subject, head) = put(&registry, "image", "application/image", None);
        assert!(!head.contains("OCI-Subject"), "{head}");
        for (tag, kind) in [("1", "application/a"), ("2", "application/b"), ("3", "application/a")] {
            let (_, head) = put(&registry, tag, kind, Some(&subject));
            assert_eq!(head.contains(&format!("OCI-Subject: {subject}")), referrers != Referrers::Unknown);
        }
        let mut all = Vec::new();
        let mut target = format!("/v2/a/b/referrers/{subject}?artifactType=application%2Fa");
        for _ in 0..5 {
            let (status, head, body) = ask(&registry, "GET", &target, &[], b"");
            assert_eq!(status, if referrers == Referrers::Unknown { 404 } else { 200 });
            assert_eq!(head.contains("OCI-Filters-Applied: artifactType"), referrers == Referrers::Kept);
            let index: Value = serde_json::from_slice(&body).unwrap();
            all.extend(index["manifests"].as_array().cloned().unwrap_or_default());
            let Some((_, next)) = head.split_once("Link: <") else { break };
            next.split('>').next().unwrap().clone_into(&mut target);
        }
        let mut tags: Vec<_> =
            all.iter().map(|entry| entry["annotations"]["tag"].as_str().unwrap()).collect();
        tags.sort_unstable();
        let expected: &[&str] = match referrers {
            Referrers::Kept => &["1", "3"],
            Referrers::Unfiltered => &["1", "2", "3"],
            Referrers::Unknown => &[],
        };
        assert_eq!(tags, expected);
    }
}
