//! Tags, repositories, and the search for them.

use std::time::Duration;

use tempfile::TempDir;

use crate::common::{Reply, Request, Server, hasty, sha256};
use crate::real::{Distribution, MANIFEST};
use loment_registry::{Error, Found, Problem, Registry};

fn at(server: &Server) -> Registry {
    Registry::new(&server.host(), hasty()).unwrap()
}

fn tags(server: &Server) -> Result<Vec<String>, Error> {
    at(server).tags("a/b").unwrap().collect()
}

fn problem(outcome: Result<Vec<String>, Error>) -> Problem {
    match outcome {
        Err(Error::Protocol { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// Pages `1`, `2` and `3`, linked by `link`.
fn pages(link: impl Fn(&Request, usize) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let page = request.path.split_once("page=").map_or(1, |(_, page)| page.parse().unwrap());
        let body = format!(r#"{{"name":"a/b","tags":["t{page}"]}}"#);
        let link = link(request, page + 1);
        let headers = [("Link", link.as_str())];
        Reply::new(200, &headers[..usize::from(page < 3)], body.as_bytes())
    })
}

#[test]
fn pages_follow_each_other() {
    for server in [
        pages(|_, page| format!("</v2/a/b/tags/list?page={page}>; rel=\"next\"")),
        pages(|_, page| format!("<?page={page}>; rel=next")),
        pages(|request, page| {
            format!("<http://{}/v2/a/b/tags/list?page={page}>; rel=\"next\"", request.header("host").unwrap())
        }),
        // As registries behind a proxy do that do not know how they are reached.
        pages(|_, page| format!("<https://127.0.0.1/v2/a/b/tags/list?page={page}>; rel=\"next\"")),
    ] {
        assert_eq!(tags(&server).unwrap(), ["t1", "t2", "t3"]);
        assert_eq!(server.paths()[1..], ["/v2/a/b/tags/list?page=2", "/v2/a/b/tags/list?page=3"]);
    }
    // What is not wanted is not fetched.
    let server = pages(|_, page| format!("<?page={page}>; rel=next"));
    assert_eq!(at(&server).tags("a/b").unwrap().take(1).count(), 1);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn links_lead_nowhere_else_and_not_round() {
    for link in [
        "<http://elsewhere.test/v2/a/b/tags/list?page=2>; rel=next",
        "</v2/c/tags/list?page=2>; rel=next",
        "<http://u:p@127.0.0.1/v2/a/b/tags/list?page=2>; rel=next",
        "<>; rel=next",
    ] {
        let server = Server::start(move |_| Reply::new(200, &[("Link", link)], br#"{"tags":["x"]}"#));
        assert_eq!(problem(tags(&server)), Problem::Link, "{link}");
        assert_eq!(server.requests().len(), 1);
    }
    let server = Server::start(|request| {
        let next = request.path.split_once("=").map_or(0, |(_, n)| n.parse::<usize>().unwrap()) + 1;
        let next = if next == 4 { String::new() } else { format!("?n={next}") };
        let link = format!("</v2/a/b/tags/list{next}>; rel=next");
        Reply::new(200, &[("Link", &link)], br#"{"tags":null}"#)
    });
    assert_eq!(problem(tags(&server)), Problem::PageAgain);
    assert_eq!(server.requests().len(), 4);
    let server =
        Server::start(|_| Reply::new(200, &[("Link", "</v2/a/b/tags/list>; rel=next")], br#"{"tags":null}"#));
    assert_eq!(problem(tags(&server)), Problem::PageAgain);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_list_of_many_pages_is_read_and_one_without_end_is_not() {
    let linked = |request: &Request, last: usize, body: &[u8]| {
        let next = request.path.split_once("=").map_or(0, |(_, n)| n.parse::<usize>().unwrap()) + 1;
        let link = format!("<?n={next}>; rel=next");
        let headers = [("Link", link.as_str())];
        Reply::new(200, &headers[..usize::from(next < last)], body)
    };
    let server = Server::start(move |request| linked(request, 3_500, br#"{"tags":["x"]}"#));
    assert_eq!(tags(&server).unwrap().len(), 3_500);
    let page = [br#"{"tags":["x"]}"#.to_vec(), vec![b' '; 30 << 20]].concat();
    let server = Server::start(move |request| linked(request, usize::MAX, &page));
    let error = tags(&server).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit, .. } if limit == 128 << 20), "{error:?}");
    assert!(error.to_string().contains("134217728 bytes"), "{error}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn all_pages_of_a_list_together_have_a_time_limit() {
    // Each comes soon enough, and there is always another one.
    let server = Server::start(|request| {
        std::thread::sleep(Duration::from_millis(20));
        let next = request.path.rsplit_once("=").map_or(0, |(_, n)| n.parse::<usize>().unwrap()) + 1;
        let link = format!("<?n={next}>; rel=next");
        let index = [("Link", link.as_str()), ("Content-Type", "application/vnd.oci.image.index.v1+json")];
        match request.path.as_str() {
            path if path.contains("/referrers/") => Reply::new(200, &index, br#"{"manifests":[]}"#),
            path if path.contains("search") => {
                let row = br#"{"num_pages":100000,"results":[{"name":"x"}]}"#;
                Reply::new(200, &[], row)
            }
            path if path.contains("_catalog") => Reply::new(200, &index[..1], br#"{"repositories":["x"]}"#),
            _ => Reply::new(200, &index[..1], br#"{"tags":["x"]}"#),
        }
    });
    let mut options = hasty();
    options.timeouts.list = Duration::from_millis(300);
    let registry = Registry::new(&server.host(), options).unwrap();
    let ends = |what: &str, error: Error| {
        assert!(matches!(error, Error::SlowList { .. }), "{error:?}");
        let expected = format!(
            "{} is too slow: {what} had not come to an end after 0 s; try again, or ask for something narrower",
            server.host()
        );
        assert_eq!(error.to_string(), expected);
    };
    let tags: Result<Vec<_>, _> = registry.tags("a/b").unwrap().collect();
    ends(&format!("tags of {}/a/b", server.host()), tags.unwrap_err());
    assert!(server.requests().len() > 2, "it had begun");
    let catalog: Result<Vec<_>, _> = registry.catalog().collect();
    ends(&format!("repositories of {}", server.host()), catalog.unwrap_err());
    let digest = sha256(b"x");
    let referrers = registry.referrers("a/b", &digest, None).unwrap_err();
    ends(&format!("referrers of {}/a/b@{digest}", server.host()), referrers);
    let search = registry.search("x", 100_000).unwrap_err();
    ends(&format!("search for \"x\" on {}", server.host()), search);
}

#[test]
fn tries_of_one_page_count_too() {
    // Each try ends before a limit of its own does.
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(40));
        Reply::new(503, &[], b"")
    });
    let mut options = hasty();
    options.retry.tries = 1000;
    options.timeouts.list = Duration::from_millis(300);
    let registry = Registry::new(&server.host(), options).unwrap();
    let tags: Result<Vec<_>, _> = registry.tags("a/b").unwrap().collect();
    assert!(matches!(tags, Err(Error::SlowList { .. })), "{tags:?}");
    // What is done between pages does not count.
    let server = pages(|_, page| format!("<?page={page}>; rel=next"));
    let mut options = hasty();
    options.timeouts.list = Duration::from_millis(1500);
    let registry = Registry::new(&server.host(), options).unwrap();
    let slowly = registry.tags("a/b").unwrap().inspect(|_| std::thread::sleep(Duration::from_millis(800)));
    assert_eq!(slowly.collect::<Result<Vec<_>, _>>().unwrap(), ["t1", "t2", "t3"]);
}

#[test]
fn lists_hold_names() {
    for body in ["", "[]", "{}", r#"{"tags":[1]}"#, r#"{"tags":["a b"]}"#, r#"{"tags":["\u001b[31m"]}"#] {
        let server = Server::start(move |_| Reply::new(200, &[], body.as_bytes()));
        assert_eq!(problem(tags(&server)), Problem::List, "{body}");
    }
    let server = Server::start(|_| Reply::new(200, &[], br#"{"name":"a/b","tags":null}"#));
    assert!(tags(&server).unwrap().is_empty());
    let server = Server::start(|_| Reply::new(200, &[], &vec![b' '; (32 << 20) + 1]));
    assert!(matches!(tags(&server), Err(Error::TooLarge { .. })));
    let server = Server::start(|_| Reply::new(200, &[], br#"{"repositories":["a/b","../c"]}"#));
    assert_eq!(problem(at(&server).catalog().collect()), Problem::List);
}

#[test]
fn the_first_api_is_searched_page_by_page() {
    let server = Server::start(|request| {
        let page: usize = request.path.rsplit_once('=').unwrap().1.parse().unwrap();
        let row = |n: usize| {
            serde_json::json!({"name": format!("x{n}"), "description": "a\nb", "star_count": n,
            "is_official": n == 0, "is_automated": null})
        };
        let rows: Vec<_> = (0..100).map(|n| row((page - 1) * 100 + n)).collect();
        let answer = serde_json::json!({"num_pages": 3, "num_results": 300, "results": rows});
        Reply::new(200, &[], answer.to_string().as_bytes())
    });
    let registry = at(&server);
    let found = registry.search("a&b", 150).unwrap();
    assert_eq!(found.len(), 150);
    let first =
        Found { name: "x0".into(), description: "a b".into(), stars: 0, official: true, automated: false };
    assert_eq!((&found[0], found[149].stars), (&first, 149));
    assert_eq!(server.paths(), ["/v1/search?q=a%26b&n=100&page=1", "/v1/search?q=a%26b&n=100&page=2"]);
    assert_eq!(registry.search("x", 1000).unwrap().len(), 300);
    assert_eq!(registry.search("x", 7).unwrap().len(), 7);
}

#[test]
fn what_cannot_search_is_searched_by_its_catalog() {
    for status in [404, 200, 401] {
        let server = Server::start(move |request| match request.path.as_str() {
            "/v2/_catalog" => Reply::new(200, &[], br#"{"repositories":["ab","b/abc","c"]}"#),
            _ => Reply::new(status, &[], b"<html>"),
        });
        let found = at(&server).search("ab", 10).unwrap();
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["ab", "b/abc"]);
        assert_eq!(at(&server).search("ab", 1).unwrap().len(), 1);
    }
}

#[test]
fn debians_registry_is_listed() {
    let directory = TempDir::new().unwrap();
    let Some(server) = Distribution::start(directory.path(), "") else { return };
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [],
    });
    // It shows 100 at a time.
    let names: Vec<_> = (0..130).map(|n| format!("team/app-{n:03}")).collect();
    for name in &names {
        server.push_blob(name, b"{}");
        registry.put_manifest(name, "1", MANIFEST, manifest.to_string().as_bytes()).unwrap();
    }
    assert_eq!(registry.catalog().collect::<Result<Vec<_>, _>>().unwrap(), names);
    registry.put_manifest("team/app-000", "2.0", MANIFEST, manifest.to_string().as_bytes()).unwrap();
    let mut tags: Vec<_> = registry.tags("team/app-000").unwrap().map(Result::unwrap).collect();
    tags.sort();
    assert_eq!(tags, ["1", "2.0"]);
    let error = registry.tags("team/none").unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    let found = registry.search("app-12", 100).unwrap();
    assert_eq!(found.len(), 10);
}
