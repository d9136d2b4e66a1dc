//! One request, whatever it takes: scheme, login, redirects, retries.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;

use crate::Options;
use crate::auth::Logins;
use crate::body::Source;
use crate::cancel::Cancel;
use crate::challenge::{self, Challenge};
use crate::dial::Dialer;
use crate::dns::Resolver;
use crate::error::{Error, Problem, is_busy};
use crate::lane::{Exchange, Lane, Outgoing};
use crate::names::Host;
use crate::pace::{RateLimit, retry_after};
use crate::proxy::Proxies;
use crate::scope::Scopes;
use crate::tls::Tls;
use crate::url::{Origin, Scheme, Target};

/// Redirects followed; Go's client stops after ten, registries need one.
pub(crate) const MAX_REDIRECTS: usize = 5;
/// Lanes kept between calls; a pull reads 3 to 6 blobs at once.
const MAX_LANES: usize = 6;
/// Largest error document.
const MAX_ERROR_BODY: usize = 1 << 20;
/// Characters of a registry's own words that are shown.
const MAX_DETAIL: usize = 200;
/// Longest pause a registry can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What is asked of the registry.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) place: Place,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What it needs a token for.
    pub(crate) scopes: Scopes,
    /// For messages.
    pub(crate) object: String,
    pub(crate) kind: Kind,
    /// The registry may take longer than usual to answer.
    pub(crate) patient: bool,
    /// Somebody else has the same: who is not there is not waited for.
    pub(crate) elsewhere: bool,
    /// Ends it.
    pub(crate) cancel: Cancel,
}

/// Where a call goes.
#[derive(Clone)]
pub(crate) enum Place {
    /// A path on the registry.
    Registry(String),
    /// What the registry named, perhaps elsewhere.
    Location(Target),
}

/// What a call is about: decides what 404 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Blob,
    /// A list, an upload, the registry itself.
    Other,
}

impl Call {
    /// To read something.
    pub(crate) fn get(place: Place, scopes: Scopes, object: String, kind: Kind) -> Self {
        Self {
            method: Method::GET,
            place,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes,
            object,
            kind,
            patient: false,
            elsewhere: false,
            cancel: Cancel::never(),
        }
    }
}

pub(crate) struct Client {
    pub(crate) host: Host,
    pub(crate) options: Options,
    pub(crate) user_agent: HeaderValue,
    pub(crate) dialer: Dialer,
    pub(crate) logins: Logins,
    /// Only Basic is answered: nobody but the host itself is shown the credentials.
    pub(crate) basic_only: bool,
    /// The scheme that worked.
    scheme: Mutex<Option<Scheme>>,
    /// Who has answered: hosts, also with their ports.
    met: Mutex<HashSet<String>>,
    lanes: Mutex<Vec<Lane>>,
    /// Held while a list of referrers is changed.
    referrers: Mutex<()>,
    /// As last told.
    rate: Mutex<Option<RateLimit>>,
    /// How often connections broke too soon, by object.
    short: Mutex<HashMap<String, u64>>,
}

impl Client {
    pub(crate) fn new(host: Host, options: Options) -> Result<Self, Error> {
        let user_agent = HeaderValue::from_str(&options.user_agent).ok().filter(|agent| !agent.is_empty());
        let fallback = HeaderValue::from_static(concat!("loment/", env!("CARGO_PKG_VERSION")));
        let directories = options.certs_dir.iter().map(|directory| directory.join(&host.name));
        let tls = Tls {
            host: host.name.clone(),
            directories: options.cert_dir.iter().cloned().chain(directories).collect(),
            insecure: options.insecure,
            configs: Mutex::default(),
        };
        let resolver =
            Resolver { hosts: options.hosts_file.clone(), resolv_conf: options.resolv_conf.clone() };
        let proxies = Proxies::parse(&options.proxy);
        Ok(Self {
            dialer: Dialer { resolver, proxies, tls, limit: options.timeouts.connect },
            user_agent: user_agent.unwrap_or(fallback),
            host,
            logins: Logins::new(options.bearer.as_deref()),
            basic_only: false,
            options,
            scheme: Mutex::default(),
            met: Mutex::default(),
            lanes: Mutex::default(),
            referrers: Mutex::default(),
            rate: Mutex::default(),
            short: Mutex::default(),
        })
    }

    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is put up with once more, and `most` times in all, that a connection that delivers `object` breaks too soon.
    pub(crate) fn puts_up(&self, object: &str, most: u64) -> bool {
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        let count = short.entry(object.to_owned()).or_default();
        *count += 1;
        *count <= most
    }

    pub(crate) fn updating_referrers(&self) -> MutexGuard<'_, ()> {
        self.referrers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as after so many failures, or as the other side wishes.
    pub(crate) fn wait(&self, attempt: u32, wish: Option<Duration>, cancel: &Cancel) -> Result<(), Error> {
        let mut lane = self.lane()?;
        lane.end_by(cancel);
        lane.sleep(self.pause(attempt, wish))?;
        self.put_back(lane);
        Ok(())
    }

    /// A lane to work in; give it back with [`Self::put_back`] unless an unread body is left in it.
    pub(crate) fn lane(&self) -> Result<Lane, Error> {
        let kept = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(Lane::new, Ok)
    }

    pub(crate) fn put_back(&self, lane: Lane) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() < MAX_LANES {
            lanes.push(lane);
        }
    }

    /// Settles the scheme without trying.
    pub(crate) fn speak(&self, scheme: Scheme) {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
    }

    /// The registry's origin, once its scheme is known.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let scheme = *self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        scheme.map(|scheme| self.host.origin(scheme))
    }

    /// Whether the same request may well succeed a moment later. Who has answered before and is not there now may be starting anew,
    /// and names are not found now and then; who never answered is hardly there a moment later.
    pub(crate) fn passes(&self, call: &Call, error: &Error) -> bool {
        let was_there =
            |host: &String| self.met.lock().unwrap_or_else(PoisonError::into_inner).contains(host);
        error.is_transient() || !call.elsewhere && error.absent().is_some_and(was_there)
    }

    /// That one has answered, and the proxy on the way.
    pub(crate) fn meet(&self, origin: &Origin) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.extend([origin.to_string(), origin.host.clone()]);
        if let Ok(Some(proxy)) = self.dialer.proxies.hop(origin) {
            met.extend([proxy.name(), proxy.origin.host.clone()]);
        }
    }

    /// Asks until there is an answer that will not change by asking again, or tries run out.
    pub(crate) fn call(&self, lane: &mut Lane, call: &Call) -> Result<Exchange, Error> {
        self.call_from(lane, call, &mut 1)
    }

    /// The same from some attempt on.
    fn call_from(&self, lane: &mut Lane, call: &Call, attempt: &mut u32) -> Result<Exchange, Error> {
        lane.end_by(&call.cancel);
        loop {
            let outcome = self.call_once(lane, call);
            let wish = match &outcome {
                Ok(exchange) if is_busy(exchange.head.status.as_u16()) => retry_after(&exchange.head.headers),
                // What was waited for that long is not waited for again.
                Err(Error::Timeout { .. }) if call.patient => return outcome,
                Err(error) if self.passes(call, error) => error.wait(),
                _ => return outcome,
            };
            if *attempt >= self.options.retry.tries {
                return outcome;
            }
            if let Ok(exchange) = outcome {
                lane.drain(exchange);
            }
            lane.sleep(self.pause(*attempt, wish))?;
            *attempt += 1;
        }
    }

    /// The answer, when its status is one of `expected`.
    pub(crate) fn expect(&self, lane: &mut Lane, call: &Call, expected: &[u16]) -> Result<Exchange, Error> {
        let exchange = self.call(lane, call)?;
        self.expected(lane, call, exchange, expected)
    }

    /// An answer, when its status is one of `expected`.
    fn expected(
        &self,
        lane: &mut Lane,
        call: &Call,
        exchange: Exchange,
        expected: &[u16],
    ) -> Result<Exchange, Error> {
        if expected.contains(&exchange.head.status.as_u16()) {
            return Ok(exchange);
        }
        Err(self.refusal(lane, call, exchange))
    }

    /// The headers of such an answer; its body is of no interest.
    pub(crate) fn headers(&self, call: &Call, expected: &[u16]) -> Result<HeaderMap, Error> {
        self.headers_by(Self::call, call, expected)
    }

    /// The same, asked once, for who has another way.
    pub(crate) fn headers_once(&self, call: &Call, expected: &[u16]) -> Result<HeaderMap, Error> {
        self.headers_by(Self::call_once, call, expected)
    }

    fn headers_by(
        &self,
        ask: impl Fn(&Self, &mut Lane, &Call) -> Result<Exchange, Error>,
        call: &Call,
        expected: &[u16],
    ) -> Result<HeaderMap, Error> {
        let mut lane = self.lane()?;
        let answer = ask(self, &mut lane, call);
        let answer = answer.and_then(|exchange| self.expected(&mut lane, call, exchange, expected));
        let headers = answer.map(|exchange| {
            let headers = exchange.head.headers.clone();
            lane.drain(exchange);
            headers
        });
        self.put_back(lane);
        headers
    }

    /// The headers and the body, of at most `max` bytes, of a 200.
    pub(crate) fn document(&self, call: &Call, max: usize) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut lane = self.lane()?;
        let outcome = self.read(&mut lane, call, max);
        self.put_back(lane);
        outcome
    }

    /// The same in a lane. A body that breaks off is asked for again: it counts as one of the tries.
    pub(crate) fn read(
        &self,
        lane: &mut Lane,
        call: &Call,
        max: usize,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut attempt = 1;
        loop {
            let exchange = self.call_from(lane, call, &mut attempt)?;
            let exchange = self.expected(lane, call, exchange, &[200])?;
            let headers = exchange.head.headers.clone();
            match lane.collect(exchange, &call.object, max, self.options.timeouts.document()) {
                // What trickled that long would do so again.
                Err(error @ Error::Slow { .. }) => return Err(error),
                Err(error) if error.is_transient() && attempt < self.options.retry.tries => {
                    lane.sleep(self.pause(attempt, None))?;
                    attempt += 1;
                }
                outcome => return outcome.map(|bytes| (headers, bytes)),
            }
        }
    }

    /// Asks, logs in if that is wanted, and asks again. Any status can come back.
    pub(crate) fn call_once(&self, lane: &mut Lane, call: &Call) -> Result<Exchange, Error> {
        lane.end_by(&call.cancel);
        let known = self.logins.known(&call.scopes);
        let exchange = self.follow(lane, call, known.as_ref())?;
        if exchange.head.status.as_u16() != 401 || !self.is_own(&exchange) {
            return Ok(exchange);
        }
        let challenges = self.challenges(call, &exchange.head.headers)?;
        lane.drain(exchange);
        let header = self.log_in(lane, call, &challenges, known.as_ref())?;
        self.follow(lane, call, Some(&header))
    }

    /// Whether the registry itself answered.
    fn is_own(&self, exchange: &Exchange) -> bool {
        Some(&exchange.origin) == self.origin().as_ref()
    }

    /// How long to wait before the next attempt. Half of it is random, so that many clients that failed
    /// together do not come back together.
    pub(crate) fn pause(&self, attempt: u32, wish: Option<Duration>) -> Duration {
        let retry = &self.options.retry;
        let doubled = retry.first_delay.saturating_mul(1 << (attempt - 1).min(16)).min(retry.max_delay);
        let mut random = [0];
        // Without randomness the pause is merely predictable.
        let random = SystemRandom::new().fill(&mut random).map_or(0, |()| u32::from(random[0]));
        let jitter = doubled / 2 * random / 255;
        wish.map_or(doubled / 2, |wish| wish.min(MAX_RETRY_AFTER)) + jitter
    }

    /// What an answer other than success means.
    pub(crate) fn refusal(&self, lane: &mut Lane, call: &Call, exchange: Exchange) -> Error {
        let own = self.is_own(&exchange);
        let host = if own { self.host.name.clone() } else { exchange.origin.to_string() };
        let status = exchange.head.status.as_u16();
        let wait = retry_after(&exchange.head.headers);
        let detail = self.detail(lane, exchange);
        let object = call.object.clone();
        match status {
            401 if own => self.unauthorized(call),
            403 => Error::Denied { object, host, detail },
            404 if call.kind == Kind::Other => Error::Missing { object, host, detail },
            404 => Error::NotFound { object, host, blob: call.kind == Kind::Blob },
            429 => {
                // What it has said last counts; layers that come from elsewhere are not counted by it.
                let limit = self.rate_limit().filter(|_| own).map(Box::new);
                Error::TooMany { object, host, detail, limit, wait, login: own && self.is_anonymous() }
            }
            _ => Error::Status { object, host, status, detail, wait },
        }
    }

    pub(crate) fn unauthorized(&self, call: &Call) -> Error {
        let refused = !self.is_anonymous();
        Error::Unauthorized { object: call.object.clone(), host: self.host.name.clone(), refused }
    }

    /// Whether nothing was given to log in with.
    pub(crate) fn is_anonymous(&self) -> bool {
        let Options { credentials, identity_token, bearer, .. } = &self.options;
        credentials.is_none() && identity_token.is_none() && bearer.is_none()
    }

    pub(crate) fn problem(&self, call: &Call, problem: Problem) -> Error {
        Error::Protocol { object: call.object.clone(), host: self.host.name.clone(), problem }
    }

    /// `: ` and the first message of an error document, or nothing.
    pub(crate) fn detail(&self, lane: &mut Lane, exchange: Exchange) -> String {
        let body = lane.collect(exchange, "error message", MAX_ERROR_BODY, self.options.timeouts.document());
        // The status says enough when the body says nothing.
        body.ok().and_then(|body| first_message(&body)).map(|text| format!(": {text}")).unwrap_or_default()
    }

    fn challenges(&self, call: &Call, headers: &HeaderMap) -> Result<Vec<Challenge>, Error> {
        let mut all = Vec::new();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let parsed = challenge::parse(header.as_bytes());
            all.extend(parsed.ok_or_else(|| self.problem(call, Problem::Challenge))?);
        }
        Ok(all)
    }

    /// Sends what a reader delivers, once: without retries, redirects or a login, since it cannot be sent again.
    /// Only the registry itself sees credentials.
    pub(crate) fn stream(
        &self,
        lane: &mut Lane,
        call: &Call,
        target: &Target,
        body: &mut Source<'_>,
    ) -> Result<Exchange, Error> {
        lane.end_by(&call.cancel);
        let own = Some(&target.origin) == self.origin().as_ref();
        let authorization = self.logins.known(&call.scopes).filter(|_| own);
        let outgoing = self.outgoing(call, authorization.as_ref());
        lane.send(&self.dialer, target, own, &outgoing, body, self.options.timeouts.idle)
    }

    fn outgoing(&self, call: &Call, authorization: Option<&HeaderValue>) -> Outgoing {
        let mut headers = call.headers.clone();
        headers.insert(USER_AGENT, self.user_agent.clone());
        // Digests and ranges are of the bytes as they are.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Outgoing { method: call.method.clone(), headers, body: call.body.clone(), patient: call.patient }
    }

    /// Asks the registry, and whoever it sends us to. Only the registry itself sees `authorization`, and not
    /// even the registry when another host sends us back to it: that host must not choose what is done with
    /// our credentials (compare CVE-2024-45336).
    fn follow(
        &self,
        lane: &mut Lane,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Exchange, Error> {
        let bare = self.outgoing(call, None);
        let signed = self.outgoing(call, authorization);
        let is_own = |target: &Target| Some(&target.origin) == self.origin().as_ref();
        let ask = |lane: &mut Lane, target: &Target, at_home: bool| {
            let outgoing = if at_home { &signed } else { &bare };
            lane.exchange(&self.dialer, target, is_own(target), outgoing, self.options.timeouts.idle)
        };
        let (mut target, mut exchange) = match &call.place {
            Place::Registry(path) => {
                let exchange = self.ask_registry(lane, path, &signed)?;
                (Target { origin: exchange.origin.clone(), path: path.clone() }, exchange)
            }
            Place::Location(target) => (target.clone(), ask(lane, target, is_own(target))?),
        };
        self.meet(&target.origin);
        let mut at_home = is_own(&target);
        for _ in 0..MAX_REDIRECTS {
            if !is_redirect(&exchange) {
                break;
            }
            target = self.redirected(call, &call.method, &target, &exchange)?;
            lane.drain(exchange);
            at_home = at_home && is_own(&target);
            exchange = ask(lane, &target, at_home)?;
            self.meet(&target.origin);
        }
        if is_redirect(&exchange) {
            return Err(self.problem(call, Problem::Redirects));
        }
        if let Some(rate) = RateLimit::of(&exchange.head.headers).filter(|_| self.is_own(&exchange)) {
            *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Some(rate);
        }
        Ok(exchange)
    }

    /// Where an answer from `from` to a request by `method` sends us.
    pub(crate) fn redirected(
        &self,
        call: &Call,
        method: &Method,
        from: &Target,
        exchange: &Exchange,
    ) -> Result<Target, Error> {
        // 301 to 303 make a GET of other methods (RFC 9110 section 15.4).
        let kept = matches!(exchange.head.status.as_u16(), 307 | 308);
        if !kept && method != Method::GET && method != Method::HEAD {
            return Err(self.problem(call, Problem::RedirectedChange));
        }
        self.location(call, from, &exchange.head.headers)
    }

    /// What `Location` in an answer from `from` means.
    pub(crate) fn location(&self, call: &Call, from: &Target, headers: &HeaderMap) -> Result<Target, Error> {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| from.join(location));
        let to = to.ok_or_else(|| self.problem(call, Problem::Location))?;
        if from.origin.scheme == Scheme::Https && to.origin.scheme == Scheme::Http {
            return Err(self.problem(call, Problem::Downgrade));
        }
        Ok(to)
    }

    /// Asks by the scheme that is known to work; else by https, and by http where that is allowed.
    fn ask_registry(&self, lane: &mut Lane, path: &str, outgoing: &Outgoing) -> Result<Exchange, Error> {
        let limit = self.options.timeouts.idle;
        let mut ask = |origin: Origin| {
            let target = Target { origin, path: path.to_owned() };
            lane.exchange(&self.dialer, &target, true, outgoing, limit)
        };
        if let Some(origin) = self.origin() {
            return ask(origin);
        }
        let secure = self.host.origin(Scheme::Https);
        let plain_allowed = self.options.insecure || !self.options.tls_only && secure.is_loopback();
        let exchange = match ask(secure) {
            Err(first) if plain_allowed && first.suggests_plain_http() => {
                match ask(self.host.origin(Scheme::Http)) {
                    Err(Error::Unreachable { .. }) => return Err(first),
                    // What a TLS server says to plain http.
                    Ok(answer) if answer.head.status == 400 && matches!(first, Error::NoRoots { .. }) => {
                        return Err(first);
                    }
                    outcome => outcome?,
                }
            }
            outcome => outcome?,
        };
        self.speak(exchange.origin.scheme);
        Ok(exchange)
    }
}

pub(crate) fn is_redirect(exchange: &Exchange) -> bool {
    matches!(exchange.head.status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The error document of distribution-spec 1.1, "Error Codes", or of Docker's Engine API.
#[derive(Deserialize)]
struct ErrorDocument {
    #[serde(default)]
    errors: Vec<ErrorItem>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// One line fit for a terminal, whatever the registry sent.
fn first_message(body: &[u8]) -> Option<String> {
    let document = serde_json::from_slice::<ErrorDocument>(body).ok()?;
    let first = document.errors.into_iter().next();
    let text = first
        .map_or(document.message, |first| if first.message.is_empty() { first.code } else { first.message });
    Some(one_line(&text, MAX_DETAIL)).filter(|line| !line.is_empty())
}

/// Text fit for a terminal.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(max).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_become_one_line() {
        let text = |body: &str| first_message(body.as_bytes());
        let document =
            r#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31mway","detail":[1]},{"code":"X"}]}"#;
        assert_eq!(text(document).as_deref(), Some("no  [31mway"));
        assert_eq!(text(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(), Some("DENIED"));
        assert_eq!(text(r#"{"errors":[]}"#), None);
        assert_eq!(text(r#"{"message":"No such image: x"}"#).as_deref(), Some("No such image: x"));
        assert_eq!(text("<html>"), None);
        assert_eq!(
            text(&format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "a".repeat(5000))).unwrap().len(),
            200
        );
    }

    #[test]
    fn pauses_grow_to_a_limit_and_heed_the_registry() {
        let client = Client::new(Host::parse("localhost").unwrap(), Options::default()).unwrap();
        let retry = client.options.retry.clone();
        for attempt in 1..40 {
            let pause = client.pause(attempt, None);
            assert!(pause >= retry.first_delay / 2 && pause <= retry.max_delay, "{attempt}: {pause:?}");
        }
        assert!(client.pause(1, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        assert!(client.pause(1, Some(Duration::from_secs(1 << 40))) <= MAX_RETRY_AFTER + retry.max_delay);
    }
}
