//! Files of URLs: over connections that break, and to whom logins are shown.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Reply, Server, Then, content, hasty};
use loment_registry::{Error, FileUrl, Problem};

/// Fetches `/x.tar` of a server.
fn fetch(server: &Server) -> std::io::Result<Vec<u8>> {
    let url: FileUrl = format!("http://{}/x.tar", server.host()).parse().unwrap();
    let mut out = Vec::new();
    url.fetch(hasty()).map_err(std::io::Error::other)?.read_to_end(&mut out)?;
    Ok(out)
}

/// The error inside.
fn failure(error: std::io::Error) -> Error {
    *error.into_inner().unwrap().downcast().unwrap()
}

/// Serves `before`, breaks off after so many bytes, and has `after` from then on, whole or in part.
fn breaking(before: (&[u8], &str), at: usize, after: (&[u8], &str), parts: bool) -> Server {
    let own = |(bytes, etag): (&[u8], &str)| (bytes.to_vec(), etag.to_owned());
    let (before, after, count) = (own(before), own(after), AtomicUsize::new(0));
    Server::start(move |request| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::new(200, &[("ETag", &before.1)], &before.0).cut(at, Then::Close);
        }
        match request.range().filter(|_| parts) {
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", after.0.len() - 1, after.0.len());
                let headers = [("Content-Range", range.as_str()), ("ETag", &after.1)];
                Reply::new(206, &headers, &after.0[start..])
            }
            None => Reply::new(200, &[("ETag", &after.1)], &after.0),
        }
    })
}

#[test]
fn a_file_that_breaks_off_is_gone_on_with_if_it_is_the_same() {
    let bytes = content(300_000);
    for parts in [true, false] {
        let server = breaking((&bytes, "\"a\""), 200_000, (&bytes, "\"a\""), parts);
        assert!(fetch(&server).unwrap() == bytes, "{parts}");
        assert_eq!(server.requests()[1].header("if-range"), Some("\"a\""));
    }
    // Before anything has come it does not matter.
    let server = breaking((&bytes, "W/\"a\""), 0, (&bytes, "W/\"a\""), true);
    assert!(fetch(&server).unwrap() == bytes);
}

#[test]
fn a_file_that_may_have_changed_is_not_put_together() {
    let (bytes, other) = (content(300_000), vec![7; 300_000]);
    for parts in [true, false] {
        let server = breaking((&bytes, "\"a\""), 200_000, (&other, "\"b\""), parts);
        let error = failure(fetch(&server).unwrap_err());
        assert!(matches!(error, Error::Protocol { problem: Problem::Changed, .. }), "{error}");
    }
    // A weak tag does not tell.
    let server = breaking((&bytes, "W/\"a\""), 200_000, (&bytes, "W/\"a\""), true);
    let error = failure(fetch(&server).unwrap_err());
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_login_of_a_url_is_for_its_host_alone() {
    let other = Server::start(|request| match request.header("authorization") {
        None => Reply::new(200, &[], b"file"),
        Some(_) => Reply::new(500, &[], b""),
    });
    let location = format!("http://{}/there", other.host());
    let server = Server::start(move |request| match request.header("authorization") {
        None => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        // user:pass word
        Some("Basic dXNlcjpwYXNzIHdvcmQ=") => Reply::new(302, &[("Location", &location)], b""),
        Some(_) => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
    });
    let url = |login: &str| format!("http://{login}{}/x", server.host()).parse::<FileUrl>().unwrap();
    let mut out = String::new();
    url("user:pass%20word@").fetch(hasty()).unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "file");
    for login in ["", "user:wrong@"] {
        let error = url(login).fetch(hasty()).unwrap_err();
        assert!(matches!(&error, Error::Denied { .. }), "{error}");
        assert!(error.to_string().contains("USER:PASSWORD@"), "{error}");
    }
    // Whom the host names as its token server is not shown the login, nor asked at all.
    let thief = Server::start(|_| Reply::new(200, &[], br#"{"token":"x"}"#));
    let bearer = format!("Bearer realm=\"http://{}/token\",service=\"s\"", thief.host());
    let both = format!("{bearer}, Basic realm=\"x\"");
    for (challenge, works) in [(bearer, false), (both, true)] {
        let server = Server::start(move |request| match request.header("authorization") {
            Some("Basic dXNlcjp0b3BzZWNyZXQ=") => Reply::new(200, &[], b"file"),
            _ => Reply::new(401, &[("WWW-Authenticate", &challenge)], b""),
        });
        for login in ["user:topsecret@", ""] {
            let url: FileUrl = format!("http://{login}{}/x", server.host()).parse().unwrap();
            match url.fetch(hasty()) {
                Ok(_) => assert!(works && !login.is_empty()),
                Err(Error::Denied { .. }) => assert!(works && login.is_empty()),
                Err(error) => {
                    assert!(
                        matches!(&error, Error::Protocol { problem: Problem::TokenWanted, .. }),
                        "{error}"
                    );
                    assert!(!works && !error.to_string().contains("topsecret"), "{error}");
                }
            }
        }
    }
    assert!(thief.requests().is_empty());
    // Unlike registries, a host of this machine is not asked in another way than was said.
    let secure: FileUrl = format!("https://{}/x", server.host()).parse().unwrap();
    let before = server.requests().len();
    assert!(secure.fetch(hasty()).is_err());
    assert_eq!(server.requests().len(), before);
}
