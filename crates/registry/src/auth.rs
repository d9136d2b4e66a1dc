//! Logging in: Basic, and Bearer tokens fetched from a token server
//! (<https://distribution.github.io/distribution/spec/auth/token/> and `oauth/` beside it).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method};
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::client::{Call, Client, MAX_REDIRECTS, is_redirect};
use crate::error::{Error, Problem};
use crate::lane::{Exchange, Lane, Outgoing};
use crate::pace::retry_after;
use crate::scope::Scopes;
use crate::url::{Scheme, Target, form};

/// Largest answer of a token server; tokens listing many scopes reach tens of kilobytes.
const MAX_TOKEN_ANSWER: usize = 1 << 20;
/// The specification's default, and what shorter promises are raised to: clients before us rely on it.
const MIN_LIFE: u64 = 60;
/// A day.
const MAX_LIFE: u64 = 24 * 60 * 60;

/// Tokens kept before those that are no longer good are thrown away; each can have kilobytes.
const MAX_TOKENS: usize = 100;

/// User name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password, or an access token in its place.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What has been learnt about how to log in.
pub(crate) struct Logins {
    /// Given, not fetched: sent with everything, and all there is.
    given: Option<HeaderValue>,
    known: Mutex<Known>,
    /// Held while a token is fetched: threads that need the same one wait and use it.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// The registry takes Basic.
    basic: Option<HeaderValue>,
    /// By what they were asked for.
    tokens: BTreeMap<Scopes, Token>,
    /// What the token server gave us to come back with.
    refresh: Option<Refresh>,
}

struct Refresh {
    /// Whose it is: nobody else gets it.
    realm: Target,
    token: String,
}

struct Token {
    header: HeaderValue,
    expires: Instant,
}

impl Logins {
    /// With a ready bearer token; one that [`bearer`] refuses is none.
    pub(crate) fn new(given: Option<&str>) -> Self {
        Self { given: given.and_then(bearer), known: Mutex::default(), turn: Mutex::default() }
    }

    fn keep(&self, scopes: &Scopes, token: Token) {
        let tokens = &mut lock(&self.known).tokens;
        if tokens.len() >= MAX_TOKENS {
            let now = Instant::now();
            tokens.retain(|_, token| token.expires > now);
        }
        tokens.insert(scopes.clone(), token);
    }

    /// Whether there was a token that is no longer good, and nothing else to send.
    pub(crate) fn has_expired(&self, scopes: &Scopes) -> bool {
        let had = lock(&self.known).tokens.contains_key(scopes);
        had && self.known(scopes).is_none()
    }

    fn refresh_token(&self, realm: &Target) -> Option<String> {
        let known = lock(&self.known);
        known.refresh.as_ref().filter(|kept| kept.realm == *realm).map(|kept| kept.token.clone())
    }

    /// What to send with a request that needs `scopes`, as far as known: the token asked for exactly these, or
    /// else one asked for more.
    pub(crate) fn known(&self, scopes: &Scopes) -> Option<HeaderValue> {
        if self.given.is_some() {
            return self.given.clone();
        }
        let known = lock(&self.known);
        let now = Instant::now();
        let exact = known.tokens.get(scopes).filter(|token| token.expires > now);
        let wider = || {
            let good = |(others, token): &(&Scopes, &Token)| token.expires > now && others.cover(scopes);
            known.tokens.iter().find(good).map(|(_, token)| token)
        };
        exact.or_else(wider).map(|token| &token.header).or(known.basic.as_ref()).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of a token server's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// One way to ask a token server.
enum Grant<'c> {
    /// POST of a refresh token: one that was given to us, or one the server handed out before.
    Refresh { token: String, kept: bool },
    /// GET, with Basic when there are credentials: what every token server knows.
    Get(Option<&'c Credentials>),
    /// POST of user name and password.
    Password(&'c Credentials),
}

impl Client {
    /// Answers a 401: the value of `Authorization` to try next. `refused` is the one that was tried.
    pub(crate) fn log_in(
        &self,
        lane: &mut Lane,
        call: &Call,
        challenges: &[Challenge],
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        if self.logins.given.is_some() {
            return Err(self.unauthorized(call));
        }
        let _turn = lock(&self.logins.turn);
        if let Some(known) = self.logins.known(&call.scopes).filter(|known| Some(known) != refused) {
            return Ok(known);
        }
        let offered = |scheme| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(challenge) = offered("bearer").filter(|_| !self.basic_only) {
            let token = self.fetch_token(lane, call, challenge)?;
            let header = token.header.clone();
            self.logins.keep(&call.scopes, token);
            return Ok(header);
        }
        if challenges.is_empty() {
            return Err(self.unauthorized(call));
        }
        let unknown = if offered("bearer").is_some() { Problem::TokenWanted } else { Problem::Challenge };
        offered("basic").ok_or_else(|| self.problem(call, unknown))?;
        let credentials = self.options.credentials.as_ref().ok_or_else(|| self.unauthorized(call))?;
        let header = basic(credentials);
        if Some(&header) == refused {
            return Err(self.unauthorized(call));
        }
        lock(&self.logins.known).basic = Some(header.clone());
        Ok(header)
    }

    fn fetch_token(&self, lane: &mut Lane, call: &Call, challenge: &Challenge) -> Result<Token, Error> {
        let realm = challenge.get("realm").and_then(Target::parse);
        let realm = realm.ok_or_else(|| self.problem(call, Problem::Challenge))?;
        let secure = self.origin().is_none_or(|origin| origin.scheme == Scheme::Https);
        if realm.origin.scheme == Scheme::Http && secure && !self.options.insecure {
            return Err(self.problem(call, Problem::PlainRealm));
        }
        let mut refused = self.unauthorized(call);
        for grant in self.grants(&realm) {
            let asked = Instant::now();
            let (target, outgoing) = self.token_request(&realm, call, challenge, &grant);
            let exchange = self.ask_token_server(lane, call, &realm, target, outgoing)?;
            match (exchange.head.status.as_u16(), &grant) {
                (200, _) => return self.token(lane, call, exchange, &realm, asked),
                // Not in this way.
                (status @ (404 | 405), _) => {
                    let host = realm.origin.to_string();
                    let detail = self.detail(lane, exchange);
                    refused = Error::Status { object: call.object.clone(), host, status, detail, wait: None };
                }
                (400 | 401 | 403, Grant::Refresh { kept: true, .. }) => {
                    lane.drain(exchange);
                    lock(&self.logins.known).refresh = None;
                }
                (400 | 401 | 403, _) => {
                    lane.drain(exchange);
                    return Err(self.unauthorized(call));
                }
                // What asked for it is asked for again as a whole, when that has passed.
                (429, _) => {
                    let (object, server) = (call.object.clone(), realm.origin.to_string().into());
                    let (host, login) = (self.host.name.as_str().into(), self.is_anonymous());
                    let wait = retry_after(&exchange.head.headers);
                    let detail = self.detail(lane, exchange);
                    return Err(Error::TooManyTokens { object, server, host, detail, wait, login });
                }
                (status, _) => {
                    let host = realm.origin.to_string();
                    let wait = retry_after(&exchange.head.headers);
                    let detail = self.detail(lane, exchange);
                    return Err(Error::Status { object: call.object.clone(), host, status, detail, wait });
                }
            }
        }
        Err(refused)
    }

    /// Asks a token server, and whoever it sends us to. Only the server itself is shown credentials, also when somebody else sends us
    /// back to it; a form with credentials goes nowhere else.
    fn ask_token_server(
        &self,
        lane: &mut Lane,
        call: &Call,
        realm: &Target,
        mut target: Target,
        mut outgoing: Outgoing,
    ) -> Result<Exchange, Error> {
        let problem = |problem| {
            let (object, host) = (call.object.clone(), realm.origin.to_string());
            Error::Protocol { object, host, problem }
        };
        let mut strayed = false;
        for _ in 0..=MAX_REDIRECTS {
            // Who is sent by others shows no certificate either.
            let own = !strayed && self.origin().as_ref() == Some(&target.origin);
            let exchange =
                lane.exchange(&self.dialer, &target, own, &outgoing, self.options.timeouts.idle)?;
            self.meet(&target.origin);
            if !is_redirect(&exchange) {
                return Ok(exchange);
            }
            target = match self.redirected(call, &outgoing.method, &target, &exchange) {
                Err(Error::Protocol { problem: what, .. }) => return Err(problem(what)),
                target => target?,
            };
            lane.drain(exchange);
            if target.origin != realm.origin {
                strayed = true;
                if outgoing.method != Method::GET {
                    return Err(problem(Problem::LoginElsewhere));
                }
                outgoing.headers.remove(AUTHORIZATION);
            }
        }
        Err(problem(Problem::Redirects))
    }

    /// The ways to try, in order. GET comes before the password grant: it is older and known everywhere, and some
    /// servers answer a POST they do not know with 401, which is what a wrong password gets.
    fn grants(&self, realm: &Target) -> Vec<Grant<'_>> {
        let kept = self.logins.refresh_token(realm).map(|token| Grant::Refresh { token, kept: true });
        let given = self.options.identity_token.clone();
        let given = given.map(|token| Grant::Refresh { token, kept: false });
        let credentials = self.options.credentials.as_ref();
        // With an identity token alone there is nothing to say in other ways.
        let get = (given.is_none() || credentials.is_some()).then_some(Grant::Get(credentials));
        kept.into_iter().chain(given).chain(get).chain(credentials.map(Grant::Password)).collect()
    }

    /// The token in an answer.
    fn token(
        &self,
        lane: &mut Lane,
        call: &Call,
        exchange: Exchange,
        realm: &Target,
        asked: Instant,
    ) -> Result<Token, Error> {
        let own = exchange.origin == realm.origin;
        let body = lane.collect(exchange, "token", MAX_TOKEN_ANSWER, self.options.timeouts.document())?;
        let unusable = || Error::Protocol {
            object: call.object.clone(),
            host: realm.origin.to_string(),
            problem: Problem::Token,
        };
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let text = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        let header = text.as_deref().and_then(bearer).ok_or_else(unusable)?;
        if let Some(token) = answer.refresh_token.filter(|token| own && !token.is_empty()) {
            lock(&self.logins.known).refresh = Some(Refresh { realm: realm.clone(), token });
        }
        let life = Duration::from_secs(answer.expires_in.unwrap_or(0).clamp(MIN_LIFE, MAX_LIFE));
        Ok(Token { header, expires: asked + life })
    }

    fn token_request(
        &self,
        realm: &Target,
        call: &Call,
        challenge: &Challenge,
        grant: &Grant<'_>,
    ) -> (Target, Outgoing) {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let service = challenge.get("service");
        // What we know to need, and what the registry says is needed.
        let wanted = Scopes::parse(challenge.get("scope").unwrap_or_default()).and(&call.scopes).texts();
        let scope = wanted.join(" ");
        let mut pairs: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        match grant {
            Grant::Get(credentials) => {
                pairs.extend(wanted.iter().map(|scope| ("scope", scope.as_str())));
                if let Some(credentials) = credentials {
                    pairs.push(("account", &credentials.username));
                    headers.insert(AUTHORIZATION, basic(credentials));
                }
                let outgoing = Outgoing { method: Method::GET, headers, body: Bytes::new(), patient: false };
                return (realm.with_query(&pairs), outgoing);
            }
            Grant::Refresh { token, .. } => pairs.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "loment"),
                ("refresh_token", token),
            ]),
            Grant::Password(credentials) => pairs.extend([
                ("grant_type", "password"),
                ("client_id", "loment"),
                ("username", &credentials.username),
                ("password", &credentials.password),
            ]),
        }
        if !scope.is_empty() {
            pairs.push(("scope", &scope));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = Bytes::from(form(&pairs));
        (realm.clone(), Outgoing { method: Method::POST, headers, body, patient: false })
    }
}

/// The header of a bearer token; `None` when it is not fit for one.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() { None } else { sensitive(&format!("Bearer {token}")) }
}

fn basic(credentials: &Credentials) -> HeaderValue {
    let pair = STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
    sensitive(&format!("Basic {pair}")).expect("base64 is fit for a header")
}

/// A header value that is not shown in debug output.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
