//! Basic and Bearer logins against a scripted registry that is its own token server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Reply, Request, Server, hasty};
use loment_registry::{Credentials, Error, Options, Problem, Registry, Retry};

/// Wants the token of the latest generation; `issue` answers token requests.
fn registry(
    generation: Arc<AtomicUsize>,
    issue: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| {
        let current = generation.load(Ordering::SeqCst);
        if request.path.starts_with("/token") {
            return issue(request, current);
        }
        if request.header("authorization") == Some(&format!("Bearer t{current}")) {
            return Reply::new(200, &[], b"{}");
        }
        let repository = request.path.strip_prefix("/v2/").unwrap().split("/manifests").next().unwrap();
        let challenge = format!(
            "Bearer realm=\"http://{}/token?x=1\",service=\"a service\",scope=\"repository:{repository}:pull\"",
            request.header("host").unwrap()
        );
        Reply::new(401, &[("WWW-Authenticate", &challenge)], b"{}")
    })
}

fn token(name: &str, generation: usize) -> Reply {
    Reply::new(200, &[], format!(r#"{{"{name}":"t{generation}","expires_in":1}}"#).as_bytes())
}

fn with_credentials() -> Options {
    let credentials = Credentials { username: "user".into(), password: "p:w".into() };
    Options { credentials: Some(credentials), ..hasty() }
}

fn count(server: &Server, prefix: &str) -> usize {
    server.paths().iter().filter(|path| path.starts_with(prefix)).count()
}

#[test]
fn a_token_is_fetched_once_per_repository_and_again_when_refused() {
    let generation = Arc::new(AtomicUsize::new(0));
    let server = registry(Arc::clone(&generation), |_, current| token("token", current));
    let registry = Registry::new(&server.host(), with_credentials()).unwrap();
    registry.manifest("a/b", "1").unwrap();
    let request = &server.requests()[1];
    assert_eq!(request.path, "/token?x=1&service=a%20service&scope=repository%3Aa%2Fb%3Apull&account=user");
    assert_eq!(request.header("authorization"), Some("Basic dXNlcjpwOnc="));
    // "expires_in":1 means 60 s.
    registry.manifest("a/b", "1").unwrap();
    registry.manifest("a/b", "2").unwrap();
    assert_eq!((count(&server, "/token"), server.requests().len()), (1, 5));
    registry.manifest("c", "1").unwrap();
    assert_eq!(count(&server, "/token"), 2);
    generation.store(1, Ordering::SeqCst);
    registry.manifest("a/b", "1").unwrap();
    assert_eq!(count(&server, "/token"), 3);
}

#[test]
fn anonymous_tokens_need_no_credentials() {
    let server = registry(Arc::default(), |request, current| match request.header("authorization") {
        None => token("access_token", current),
        Some(_) => Reply::new(401, &[], b""),
    });
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(server.paths()[1], "/token?x=1&service=a%20service&scope=repository%3Aa%2Fb%3Apull");
}

#[test]
fn an_identity_token_is_exchanged() {
    let server = registry(Arc::default(), |request, current| {
        if request.method == "POST" { token("access_token", current) } else { Reply::new(405, &[], b"") }
    });
    let options = Options { identity_token: Some("i&t".into()), ..with_credentials() };
    Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap();
    let request = &server.requests()[1];
    assert_eq!(
        request.body,
        "service=a%20service&grant_type=refresh_token&client_id=loment&refresh_token=i%26t&scope=repository%3Aa%2Fb%3Apull"
    );
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn threads_share_one_token() {
    let server = registry(Arc::default(), |_, current| token("token", current));
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| registry.manifest("a/b", "1").unwrap());
        }
    });
    assert_eq!(count(&server, "/token"), 1);
}

#[test]
fn wrong_credentials_are_not_tried_for_ever() {
    let message = |server: &Server, options| {
        let error = Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        error.to_string().replace(&server.host(), "HOST")
    };
    let refused =
        "manifest 1 of HOST/a/b: unauthorized: HOST refuses these credentials; log in to HOST again";
    // By the token server.
    let server = registry(Arc::default(), |_, _| Reply::new(401, &[], b""));
    assert_eq!(message(&server, with_credentials()), refused);
    assert_eq!(count(&server, "/token"), 1);
    // By the registry.
    let server = registry(Arc::default(), |_, _| token("token", 99));
    assert_eq!(message(&server, with_credentials()), refused);
    assert_eq!((count(&server, "/token"), count(&server, "/v2/")), (1, 2));
    // With Basic.
    let server = Server::start(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""));
    assert_eq!(message(&server, with_credentials()), refused);
    assert_eq!(server.requests().len(), 2);
    assert!(message(&server, hasty()).ends_with("log in to HOST first"));
}

#[test]
fn basic_is_remembered() {
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic dXNlcjpwOnc=") => Reply::new(200, &[], b"{}"),
        _ => Reply::new(401, &[("WWW-Authenticate", "Negotiate, Basic realm=\"r\"")], b""),
    });
    let registry = Registry::new(&server.host(), with_credentials()).unwrap();
    registry.manifest("a/b", "1").unwrap();
    registry.manifest("c", "1").unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_busy_token_server_is_asked_again() {
    let count = AtomicUsize::new(0);
    let server = registry(Arc::default(), move |_, current| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503, &[], b""),
        _ => token("token", current),
    });
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
}

#[test]
fn unusable_tokens_and_challenges_are_refused() {
    let problem = |server: &Server| {
        let error =
            Registry::new(&server.host(), with_credentials()).unwrap().manifest("a/b", "1").unwrap_err();
        let Error::Protocol { problem, .. } = error else { panic!("{error:?}") };
        problem
    };
    for body in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a\r\nX-Injected: y"}"#, r#"{"token":1}"#] {
        let server = registry(Arc::default(), move |_, _| Reply::new(200, &[], body.as_bytes()));
        assert_eq!(problem(&server), Problem::Token, "{body}");
    }
    for challenge in [
        "Negotiate",
        "Bearer",
        "Bearer realm=\"",
        "Bearer realm=\"ftp://x/\"",
        "Bearer realm=\"http://u:p@x/\"",
        "=",
    ] {
        let server = Server::start(move |_| Reply::new(401, &[("WWW-Authenticate", challenge)], b""));
        assert_eq!(problem(&server), Problem::Challenge, "{challenge}");
    }
    let server = registry(Arc::default(), |_, _| Reply::new(200, &[], &vec![b' '; 2 << 20]));
    let error = Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

/// Bodies of the requests for tokens.
fn forms(server: &Server) -> Vec<String> {
    let asked = server.requests().into_iter().filter(|request| request.path.starts_with("/token"));
    asked.map(|request| format!("{} {}", request.method, request.body)).collect()
}

#[test]
fn a_token_server_that_wants_a_form_gets_one() {
    for status in [404, 405] {
        let server = registry(Arc::default(), move |request, current| {
            if request.method == "POST" {
                token("access_token", current)
            } else {
                Reply::new(status, &[], b"")
            }
        });
        Registry::new(&server.host(), with_credentials()).unwrap().manifest("a/b", "1").unwrap();
        assert_eq!(
            forms(&server),
            [
                "GET ",
                "POST service=a%20service&grant_type=password&client_id=loment&username=user&password=p%3Aw&scope=repository%3Aa%2Fb%3Apull"
            ]
        );
        assert_eq!(server.requests()[2].header("authorization"), None);
        // Without a password there is nothing to put into it.
        let error = Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap_err();
        assert!(matches!(error, Error::Status { status: got, .. } if got == status), "{error:?}");
    }
}

#[test]
fn a_token_server_without_forms_gets_the_password() {
    let server = registry(Arc::default(), |request, current| {
        if request.method == "GET" { token("token", current) } else { Reply::new(405, &[], b"") }
    });
    let options = Options { identity_token: Some("i".into()), ..with_credentials() };
    Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(forms(&server).len(), 2);
    let options = Options { identity_token: Some("i".into()), ..hasty() };
    let error = Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Status { status: 405, .. }), "{error:?}");
}

#[test]
fn refresh_tokens_are_kept_until_they_are_refused() {
    let issued = AtomicUsize::new(0);
    let server = registry(Arc::default(), move |request, current| {
        if request.body.contains("refresh_token=r2") {
            return Reply::new(401, &[], b"");
        }
        let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = format!(r#"{{"token":"t{current}","refresh_token":"r{number}"}}"#);
        Reply::new(200, &[], answer.as_bytes())
    });
    let registry = Registry::new(&server.host(), with_credentials()).unwrap();
    for repository in ["a", "b", "c"] {
        registry.manifest(repository, "1").unwrap();
    }
    let ways: Vec<_> = forms(&server)
        .iter()
        .map(|form| {
            form.split('&').find(|pair| pair.starts_with("refresh_token")).unwrap_or("password").to_owned()
        })
        .collect();
    assert_eq!(ways, ["password", "refresh_token=r1", "refresh_token=r2", "password"]);
}

#[test]
fn a_ready_token_is_sent_at_once_and_nothing_else_is() {
    let server = registry(Arc::default(), |_, current| token("token", current));
    let ready = |text: &str| Options { bearer: Some(text.into()), ..with_credentials() };
    Registry::new(&server.host(), ready("t0")).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(server.requests().len(), 1);
    let error = Registry::new(&server.host(), ready("t9")).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Unauthorized { refused: true, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 2);
    for bad in ["", "a\nb"] {
        assert!(matches!(Registry::new(&server.host(), ready(bad)), Err(Error::Bearer { .. })));
    }
}

#[test]
fn limits_of_the_registry_can_be_asked_for() {
    let server = Server::start(|request| {
        let headers = [("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "7;w=21600")];
        Reply::new(200, if request.path.ends_with("/1") { &[] } else { &headers }, b"{}")
    });
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    registry.manifest("a/b", "1").unwrap();
    assert_eq!(registry.rate_limit(), None);
    registry.manifest("a/b", "2").unwrap();
    registry.manifest("a/b", "1").unwrap();
    let limit = registry.rate_limit().unwrap();
    assert_eq!((limit.limit, limit.remaining), (100, 7));
}

#[test]
fn a_token_server_that_limits_is_named_and_waited_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"too many tokens"}]}"#;
    let server = registry(Arc::default(), move |_, current| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::new(429, &[("Retry-After", "0")], body),
        _ => token("token", current),
    });
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let busy = registry(Arc::default(), move |_, _| Reply::new(429, &[("Retry-After", "7")], body));
    for (options, advice) in [(hasty(), "log in to HOST, which raises"), (with_credentials(), "use a mirror")]
    {
        let options = Options { retry: Retry { tries: 1, ..options.retry.clone() }, ..options };
        let error = Registry::new(&busy.host(), options).unwrap().manifest("a/b", "1").unwrap_err();
        let wish = Some(Duration::from_secs(7));
        assert!(matches!(error, Error::TooManyTokens { wait, .. } if wait == wish), "{error:?}");
        let text = error.to_string().replace(&busy.host(), "HOST");
        let said =
            "manifest 1 of HOST/a/b: HOST, the token server of HOST, gives no more tokens for now (429)";
        assert!(text.starts_with(&format!("{said}: too many tokens; ")) && text.contains(advice), "{text}");
    }
}

#[test]
fn a_token_server_that_is_busy_is_waited_for_as_it_says() {
    let busy = registry(Arc::default(), |_, _| Reply::new(503, &[("Retry-After", "7")], b""));
    let options = Options { retry: Retry { tries: 1, ..hasty().retry }, ..hasty() };
    let error = Registry::new(&busy.host(), options).unwrap().manifest("a/b", "1").unwrap_err();
    let wish = Some(Duration::from_secs(7));
    assert!(matches!(error, Error::Status { status: 503, wait, .. } if wait == wish), "{error:?}");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = registry(Arc::default(), move |_, current| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::new(503, &[("Retry-After", "0")], b""),
        _ => token("token", current),
    });
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_token_server_may_be_elsewhere_by_now() {
    let at_home = Arc::new(AtomicUsize::new(0));
    let (seen, elsewhere) = (Arc::clone(&at_home), Server::start(|_| token("token", 0)));
    let other = elsewhere.host();
    let server = registry(Arc::default(), move |request, current| {
        let location = match request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path) {
            "/token" => "/token/new",
            "/token/new" if request.header("authorization").is_some() => {
                seen.fetch_add(1, Ordering::SeqCst);
                return token("token", current);
            }
            _ => &format!("http://{other}/tokens"),
        };
        Reply::new(302, &[("Location", location)], b"moved")
    });
    // On the same host, with credentials; on another without any.
    Registry::new(&server.host(), with_credentials()).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!((at_home.load(Ordering::SeqCst), elsewhere.requests().len()), (1, 0));
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!(elsewhere.paths(), ["/tokens"]);
}

#[test]
fn who_a_token_server_sends_us_to_sees_no_credentials() {
    let back = Arc::new(std::sync::Mutex::new(String::new()));
    let home = Arc::clone(&back);
    // Sends us back to where we came from.
    let elsewhere = Server::start(move |_| {
        Reply::new(307, &[("Location", &format!("http://{}/token/back", home.lock().unwrap()))], b"")
    });
    let other = elsewhere.host();
    let server = registry(Arc::default(), move |request, current| match request.path.as_str() {
        "/token/back" => {
            Reply::new(200, &[], format!(r#"{{"token":"t{current}","refresh_token":"r"}}"#).as_bytes())
        }
        _ => Reply::new(307, &[("Location", &format!("http://{other}/x"))], b""),
    });
    *back.lock().unwrap() = server.host();
    Registry::new(&server.host(), with_credentials()).unwrap().manifest("a/b", "1").unwrap();
    let shown = |server: &Server, path: &str| {
        let asked = server.requests().into_iter().filter(|request| request.path.starts_with(path));
        asked.map(|request| request.header("authorization").is_some()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&server, "/token"), [true, false]);
    assert_eq!(shown(&elsewhere, "/"), [false]);
    // A form is not sent on.
    let options = Options { identity_token: Some("secret".into()), ..hasty() };
    let error = Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Protocol { problem: Problem::LoginElsewhere, .. }), "{error:?}");
    assert_eq!(elsewhere.requests().len(), 1);
    // Not for ever.
    let server = registry(Arc::default(), |_, _| Reply::new(307, &[("Location", "/token/again")], b""));
    let error = Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Protocol { problem: Problem::Redirects, .. }), "{error:?}");
    assert_eq!(count(&server, "/token"), 6);
}
