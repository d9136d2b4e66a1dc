//! What a caller decides about how a registry is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Credentials;
use crate::proxy::Proxy;

/// How to talk to a registry.
#[derive(Clone)]
pub struct Options {
    /// Certificates are not verified, and plain HTTP is used when https does not work. Loopback hosts may use plain HTTP also without
    /// that, unless [`tls_only`](Self::tls_only) is set. The certificate of an https proxy is not verified then, either, as with skopeo and Podman:
    /// Go's `http.Transport` has one `TLSClientConfig` for both (`addTLS` in net/http/transport.go, called for the
    /// proxy and again for the host behind it), and containers/image sets `InsecureSkipVerify` in that.
    pub insecure: bool,
    /// Plain HTTP is not used, not even with loopback hosts: somebody has said so. Without effect on what is `insecure`.
    pub tls_only: bool,
    /// Sent when asked for.
    pub credentials: Option<Credentials>,
    /// An OAuth2 refresh token (`identitytoken` in auth.json); goes before `credentials` at token servers.
    pub identity_token: Option<String>,
    /// A token that the registry itself takes (`registrytoken` in auth.json): sent with every request, and
    /// instead of `credentials` and `identity_token`.
    pub bearer: Option<String>,
    /// A directory of `*.crt`, `*.cert` and `*.key` for this registry; used instead of `certs_dir` if it is there.
    pub cert_dir: Option<PathBuf>,
    /// Directories of `<host[:port]>/*.crt`, `*.cert` and `*.key` (containers-certs.d(5)); the first that has
    /// one for the registry is used.
    pub certs_dir: Vec<PathBuf>,
    /// Through which proxies to go; none by default.
    pub proxy: Proxy,
    /// `User-Agent` header; empty: `loment/<version>`.
    pub user_agent: String,
    /// Read at each name that is looked up; may be missing.
    pub hosts_file: PathBuf,
    /// Likewise.
    pub resolv_conf: PathBuf,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try.
    pub retry: Retry,
    /// Slowest delivery of a blob that is put up with.
    pub min_rate: MinRate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: false,
            tls_only: false,
            credentials: None,
            identity_token: None,
            bearer: None,
            cert_dir: None,
            certs_dir: Vec::new(),
            proxy: Proxy::default(),
            user_agent: String::new(),
            hosts_file: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            min_rate: MinRate::default(),
        }
    }
}

/// Without secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("insecure", &self.insecure)
            .field("tls_only", &self.tls_only)
            .field("credentials", &self.credentials)
            .field("certs_dir", &self.certs_dir)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// How long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For an address; and again for connection and TLS. 30 s.
    pub connect: Duration,
    /// For the head of an answer, and for each further byte. 60 s.
    pub idle: Duration,
    /// For all of a document: a manifest, a token, a page of a list. 120 s.
    pub document: Duration,
    /// For all pages of a list together, with all tries, while somebody waits for them. 600 s.
    pub list: Duration,
}

impl Timeouts {
    /// For the next bytes of a document, and for all of them.
    pub(crate) fn document(&self) -> (Duration, Duration) {
        (self.idle, self.document)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            document: Duration::from_secs(120),
            list: Duration::from_secs(600),
        }
    }
}

/// How often to try, when the registry is busy (429, 500, 502 to 504, 507, 520 to 524), the connection breaks, or nobody is there who
/// was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts at one request, and attempts to resume a blob without progress. 5.
    pub tries: u32,
    /// Pause after the first attempt; doubled after each. Up to half of it is left to chance. 500 ms.
    pub first_delay: Duration,
    /// Longest such pause; `Retry-After` is heeded up to 60 s. 15 s.
    pub max_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 5, first_delay: Duration::from_millis(500), max_delay: Duration::from_secs(15) }
    }
}

/// Slowest delivery of a blob that is put up with. [`Timeouts::idle`] ends silence; this ends a server that sends
/// a byte now and then, and with it everybody who waits for the same blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Average. 1,024.
    pub bytes_per_second: u64,
    /// Over so much time of waiting. 60 s.
    pub over: Duration,
}

impl Default for MinRate {
    fn default() -> Self {
        Self { bytes_per_second: 1024, over: Duration::from_secs(60) }
    }
}
