//! Why a registry did not deliver.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::image::Digest;

use crate::dns::ResolveError;
use crate::link::MAX_PAGES;
use crate::pace::RateLimit;

/// Why a request failed. `object` reads like `manifest 3.19 of quay.io/fedora/fedora`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not `host[:port]`.
    #[error("{host:?} is not a registry: expected HOST or HOST:PORT")]
    Host {
        /// As given.
        host: String,
    },
    /// Not the URL of a file. A login in it is not shown.
    #[error(
        "{url:?} cannot be fetched: expected http://HOST/PATH or https://HOST/PATH, and in a login %2F for /, %3F for ? and %23 for #"
    )]
    Url {
        /// Without its login: what comes after the last `@`, if there is one.
        url: String,
    },
    /// Not a repository name.
    #[error("{repository:?} is not a repository name: expected lower-case words separated by slashes")]
    Repository {
        /// As given.
        repository: String,
    },
    /// Neither a tag nor a digest that can be verified.
    #[error("{reference:?} is neither a tag nor a sha256, sha384 or sha512 digest")]
    Reference {
        /// As given.
        reference: String,
    },
    /// The bearer token of the options is empty, or not one line of text.
    #[error("the token for {host} cannot be sent: it is empty, or not one line of text")]
    Bearer {
        /// The registry.
        host: String,
    },
    /// What a variable names is no proxy that can be used. Said only when it would be.
    #[error(
        "the proxy of {variable}, {value:?}, cannot be used: expected [http://|https://|socks5://][USER:PASSWORD@]HOST[:PORT]; set NO_PROXY for hosts that need none"
    )]
    Proxy {
        /// `HTTP_PROXY` or `HTTPS_PROXY`.
        variable: &'static str,
        /// Without its login.
        value: String,
    },
    /// TLS with a proxy fails.
    #[error("TLS with {proxy} failed; its CA must be one of this machine's, or in the file of SSL_CERT_FILE")]
    ProxyTls {
        /// The proxy.
        proxy: String,
        /// What rustls says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A SOCKS proxy does not connect us.
    #[error("{proxy} does not connect to {host}: {problem}")]
    Socks {
        /// The proxy.
        proxy: String,
        /// Host and port.
        host: String,
        /// What it says.
        problem: &'static str,
    },
    /// A proxy does not connect us.
    #[error("{proxy} does not connect to {host}: it answered {}", connect_status(*.status))]
    ProxyRefused {
        /// The proxy.
        proxy: String,
        /// Host and port.
        host: String,
        /// HTTP status code; 407 when it wants a password.
        status: u16,
    },
    /// Not a media type.
    #[error("{media_type:?} is not a media type")]
    MediaType {
        /// As given.
        media_type: String,
    },
    /// The registry has no such thing.
    #[error("{object}: {}; check the name and the tag", if *.blob { "blob unknown" } else { "manifest unknown" })]
    NotFound {
        /// What was asked for.
        object: String,
        /// Who was asked.
        host: String,
        /// A blob, not a manifest.
        blob: bool,
    },
    /// The registry does not know this path: it, or the repository, does not exist or lacks the feature.
    #[error("{object}: not known to {host}{detail}")]
    Missing {
        /// What was asked for.
        object: String,
        /// Who was asked.
        host: String,
        /// `: ` and the registry's words, or nothing.
        detail: String,
    },
    /// The registry wants credentials, or other ones.
    #[error("{object}: unauthorized: {}", .refused.then_some(format!("{host} refuses these credentials; log in to {host} again"))
        .unwrap_or_else(|| format!("{host} wants credentials for this, or has no such repository; log in to {host} first")))]
    Unauthorized {
        /// What was asked for.
        object: String,
        /// Where to log in.
        host: String,
        /// Credentials were sent.
        refused: bool,
    },
    /// The registry knows who asks, and says no.
    #[error("{object}: requested access to the resource is denied by {host}{detail}")]
    Denied {
        /// What was asked for.
        object: String,
        /// Who refuses.
        host: String,
        /// `: ` and the registry's words, or nothing.
        detail: String,
    },
    /// So much is not allowed to whoever asks (429), also not after some tries.
    #[error("{object}: {host} answers no more requests for now (429){detail}{}", allowed(host, limit.as_deref(), *.login))]
    TooMany {
        /// What was asked for.
        object: String,
        /// Who limits.
        host: String,
        /// `: ` and the registry's words, or nothing.
        detail: String,
        /// What it allows, as far as it has said so, with this answer or an earlier one.
        limit: Option<Box<RateLimit>>,
        /// For how long it wants not to be asked (`Retry-After`).
        wait: Option<Duration>,
        /// Whether credentials might raise that: it is the registry itself, and none were given.
        login: bool,
    },
    /// The server that hands out a registry's tokens allows no more of them (429), also not after some tries.
    #[error("{object}: {server}, the token server of {host}, gives no more tokens for now (429){detail}{}", allowed(host, None, *.login))]
    TooManyTokens {
        /// What the token was for.
        object: String,
        /// The token server.
        server: Box<str>,
        /// The registry.
        host: Box<str>,
        /// `: ` and the token server's words, or nothing.
        detail: String,
        /// For how long it wants not to be asked (`Retry-After`).
        wait: Option<Duration>,
        /// Whether credentials might raise that: none were given.
        login: bool,
    },
    /// Any other answer that is not success.
    #[error("{object}: {host} answered {status}{detail}")]
    Status {
        /// What was asked for.
        object: String,
        /// Who answered.
        host: String,
        /// HTTP status code.
        status: u16,
        /// `: ` and the registry's words, or nothing.
        detail: String,
        /// For how long a server that is busy wants not to be asked (`Retry-After`).
        wait: Option<Duration>,
    },
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Which servers were asked, and what they said.
        #[source]
        source: ResolveError,
    },
    /// No connection.
    #[error("cannot connect to {host}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The kernel's answer for the last address tried.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("{host} did not answer within {} s", after.as_secs())]
    Timeout {
        /// Host and port.
        host: String,
        /// What was allowed.
        after: Duration,
    },
    /// A list does not come to its end.
    #[error(
        "{host} is too slow: {object} had not come to an end after {} s; try again, or ask for something narrower",
        over.as_secs()
    )]
    SlowList {
        /// What is listed.
        object: String,
        /// Host and port.
        host: String,
        /// What was allowed for all of it.
        over: Duration,
    },
    /// A blob trickles in, on every connection tried; or a document does.
    #[error("{host} is too slow: it sent {bytes} bytes in {} s; try again, or use a mirror", over.as_secs())]
    Slow {
        /// Host and port.
        host: String,
        /// What arrived.
        bytes: u64,
        /// While it was waited for.
        over: Duration,
    },
    /// The connection broke before or inside the answer, as often as tried.
    #[error("the connection to {host} was lost")]
    Lost {
        /// Host and port.
        host: String,
        /// What the transport says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The host speaks plain HTTP. The wording is what other engines print and people search for.
    #[error(
        "http: server gave HTTP response to HTTPS client: use --tls-verify=false or mark {host} insecure in registries.conf"
    )]
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// The host's certificate is not accepted, or TLS fails otherwise.
    #[error("TLS with {host} failed; put its CA into certs.d/{host}/ca.crt, or use --tls-verify=false")]
    Tls {
        /// Host and port.
        host: String,
        /// What rustls says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No certificate is trusted on this machine.
    #[error(
        "no certificate to verify {host} with: install ca-certificates, or put its CA into certs.d/{host}/ca.crt"
    )]
    NoRoots {
        /// The registry.
        host: String,
    },
    /// A file in a certificate directory cannot be used.
    #[error("cannot use {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
    /// The content is not what was asked for, or not what the registry says it is.
    #[error(
        "{object}: expected digest {expected}, got {actual}; the registry or something before it changes content"
    )]
    DigestMismatch {
        /// What was asked for.
        object: String,
        /// Asked for, or announced.
        expected: Box<Digest>,
        /// Of what arrived, or announced for it.
        actual: Box<Digest>,
    },
    /// More than any engine accepts.
    #[error("{object} is larger than {limit} bytes; {host} sends something else than was asked for")]
    TooLarge {
        /// What was asked for.
        object: String,
        /// Who sends it.
        host: String,
        /// Allowed bytes.
        limit: u64,
    },
    /// The registry does not keep to the protocol.
    #[error("{object}: {host} {problem}")]
    Protocol {
        /// What was asked for.
        object: String,
        /// Who misbehaves.
        host: String,
        /// In what way.
        problem: Problem,
    },
    /// An upload was interrupted: what the registry has of it must be asked for before it goes on.
    #[error("{object} was interrupted; ask for its status and go on from there")]
    Interrupted {
        /// The upload.
        object: String,
    },
    /// It was not waited for: something else has failed ([`Cancel`](crate::Cancel)).
    #[error("it was cancelled")]
    Cancelled,
    /// A daemon does not take an archive.
    #[error("{host} does not load the archive: {message}")]
    Load {
        /// Its socket.
        host: String,
        /// Its words.
        message: String,
    },
    /// What is to be uploaded cannot be read, or ends before its announced length.
    #[error("cannot read what is to be uploaded")]
    Source(#[source] io::Error),
    /// No descriptors or memory for a connection.
    #[error("cannot set up a connection")]
    Setup(#[source] io::Error),
}

/// What is wrong with a certificate file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not PEM.
    #[error(transparent)]
    Pem(rustls::pki_types::pem::Error),
    /// PEM, but no certificate in it.
    #[error("no certificate in it")]
    Empty,
    /// A `.cert` without `.key`, or the reverse.
    #[error("{missing} is missing beside it")]
    Pair {
        /// The other file.
        missing: String,
    },
    /// Not a certificate, or a key that does not belong to it.
    #[error(transparent)]
    Rejected(#[from] rustls::Error),
}

/// How a registry departs from the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Redirects go round or on for too long.
    #[error("redirects too often")]
    Redirects,
    /// 301, 302 or 303 in answer to anything but reading.
    #[error("redirects a change in a way that would make it a mere look (301 to 303)")]
    RedirectedChange,
    /// From https to http.
    #[error("redirects from https to plain http, which is refused")]
    Downgrade,
    /// Missing or unusable `Location`.
    #[error("does not say where to go on (Location)")]
    Location,
    /// Neither Basic nor Bearer is offered.
    #[error("asks for a login in a way that is not understood (WWW-Authenticate)")]
    Challenge,
    /// Bearer alone is offered for a file of a URL, whose login is for the URL's host and nobody that it names.
    #[error("wants a token of a token server (Bearer); a URL's login is sent to its own host only, as Basic")]
    TokenWanted,
    /// The token server is to be asked over plain http by a registry that is not.
    #[error("wants credentials sent over plain http, which is refused")]
    PlainRealm,
    /// A form with credentials is redirected.
    #[error("redirects a login to another host, which is refused")]
    LoginElsewhere,
    /// Wrong or missing token in the token server's answer.
    #[error("sent no usable token")]
    Token,
    /// `Docker-Content-Digest` is no digest.
    #[error("sent a malformed Docker-Content-Digest")]
    DigestHeader,
    /// 206 or 416 that does not fit the request.
    #[error("does not answer range requests properly")]
    Range,
    /// Something else is there than was begun with.
    #[error("broke off, and now has another version of it; try again")]
    Changed,
    /// Other length than before, or than announced.
    #[error("sent a body of another length than announced")]
    Length,
    /// Others put their version of a list again and again.
    #[error("lets others overwrite this list of referrers; try again")]
    Overwritten,
    /// The registry has other bytes of an upload than those it was sent.
    #[error("lost track of an upload (Range)")]
    UploadRange,
    /// A list's document is not one, or holds what is not a name.
    #[error("sent a malformed list")]
    List,
    /// A list's next page is elsewhere.
    #[error("has the next page of a list elsewhere (Link)")]
    Link,
    /// A list's next page is one that was read already.
    #[error("sends back to a page of a list that was read already (Link)")]
    PageAgain,
    /// A list has more pages than are read of any.
    #[error("sends more than {} pages of a list", MAX_PAGES)]
    Pages,
    /// Not HTTP.
    #[error("sent something that is not HTTP/1.1")]
    Http,
}

/// What a proxy answered, and what to do.
fn connect_status(status: u16) -> String {
    match status {
        0 => "what is not HTTP".to_owned(),
        407 => "407; put a user name and a password into its URL".to_owned(),
        _ => status.to_string(),
    }
}

/// What a registry allows, and what to do.
fn allowed(host: &str, limit: Option<&RateLimit>, login: bool) -> String {
    let mut text = limit.map(|limit| format!("; it allows {limit}")).unwrap_or_default();
    text += &match login {
        true => format!("; log in to {host}, which raises its limit, or try again later"),
        false => "; try again later, or use a mirror".to_owned(),
    };
    text
}

impl Error {
    /// Whether somebody answered, be it with a refusal or with nonsense: not so when nobody is there, or falls silent.
    pub fn is_answer(&self) -> bool {
        !matches!(
            self,
            Self::Resolve { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Slow { .. }
                | Self::Lost { .. }
                | Self::ProxyRefused { .. }
                | Self::Socks { .. }
                | Self::Cancelled
        )
    }

    /// Whether who was asked says that there is no such thing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Missing { .. })
    }

    /// Whether who was asked has it for others, perhaps, but not for whoever asked.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Unauthorized { .. })
    }

    /// Whether the same may well succeed some time later, without anybody doing anything about it: what is
    /// [transient](Self::is_transient), and somebody who is not there, as he may be starting anew. A program that tries again
    /// after a while does it after these.
    pub fn may_pass(&self) -> bool {
        let changing = [Problem::Changed, Problem::Overwritten];
        match self {
            Self::Protocol { problem, .. } => changing.contains(problem),
            _ => self.is_absence() || self.is_transient(),
        }
    }

    /// Whether the same may well succeed soon: not where nobody is there, nor where the answer was waited for long already.
    pub fn may_pass_soon(&self) -> bool {
        let waited = matches!(
            self,
            Self::Timeout { .. } | Self::Slow { .. } | Self::TooMany { .. } | Self::TooManyTokens { .. }
        );
        self.may_pass() && !self.is_absence() && !waited
    }

    /// Whether the same request may well succeed a moment later: who was asked is busy, or the connection broke.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lost { .. }
            | Self::Timeout { .. }
            | Self::Slow { .. }
            | Self::TooMany { .. }
            | Self::TooManyTokens { .. } => true,
            Self::Status { status, .. } | Self::ProxyRefused { status, .. } => is_busy(*status),
            _ => false,
        }
    }

    /// Whether nobody is there, or its name is not found.
    pub(crate) fn is_absence(&self) -> bool {
        self.absent().is_some()
    }

    /// Who it was.
    pub(crate) fn absent(&self) -> Option<&String> {
        match self {
            Self::Unreachable { host, .. } | Self::Resolve { host, .. } => Some(host),
            _ => None,
        }
    }

    /// For how long who answered wants not to be asked.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::TooManyTokens { wait, .. } | Self::TooMany { wait, .. } | Self::Status { wait, .. } => {
                *wait
            }
            _ => None,
        }
    }

    /// Whether a host asked over https might be one that speaks plain http.
    pub(crate) fn suggests_plain_http(&self) -> bool {
        matches!(
            self,
            Self::PlainHttp { .. }
                | Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Lost { .. }
                | Self::NoRoots { .. }
                | Self::ProxyRefused { .. }
                | Self::Socks { .. }
        )
    }
}

/// Whether an HTTP status asks to come back later: 429, and what goes wrong inside a server. A server that has no room (507) may be
/// given some; 520 to 524 are what Cloudflare says when the server behind it does not answer as it should
/// (<https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>).
pub(crate) fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504 | 507 | 520..=524)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_absences_refusals_or_may_pass() {
        let (object, host, detail) = ("x".to_owned(), "h".to_owned(), String::new());
        let status = |status| Error::Status {
            object: object.clone(),
            host: host.clone(),
            status,
            detail: detail.clone(),
            wait: None,
        };
        let gone = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let kinds = |error: Error| {
            [error.is_absent(), error.is_refusal(), error.may_pass(), error.is_transient(), error.is_answer()]
        };
        let [no, yes] = [false, true];
        for (error, expected) in [
            (
                Error::NotFound { object: object.clone(), host: host.clone(), blob: true },
                [yes, no, no, no, yes],
            ),
            (
                Error::Denied { object: object.clone(), host: host.clone(), detail: detail.clone() },
                [no, yes, no, no, yes],
            ),
            (status(503), [no, no, yes, yes, yes]),
            (status(507), [no, no, yes, yes, yes]),
            (status(520), [no, no, yes, yes, yes]),
            (status(525), [no, no, no, no, yes]),
            (status(400), [no, no, no, no, yes]),
            (Error::Unreachable { host: host.clone(), source: gone() }, [no, no, yes, no, no]),
            (Error::Lost { host: host.clone(), source: gone().into() }, [no, no, yes, yes, no]),
            (
                Error::Protocol { object: object.clone(), host: host.clone(), problem: Problem::Changed },
                [no, no, yes, no, yes],
            ),
            (Error::Tls { host: host.clone(), source: gone().into() }, [no, no, no, no, yes]),
        ] {
            let text = error.to_string();
            assert_eq!(kinds(error), expected, "{text}");
        }
    }
}
