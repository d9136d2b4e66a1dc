//! Files of web servers: what a URL names, fetched with the means that registries are asked with.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Options;
use crate::auth::Credentials;
use crate::blob::Blob;
use crate::cancel::Cancel;
use crate::client::{Call, Client, Kind, Place};
use crate::error::Error;
use crate::names::Host;
use crate::scope::Scopes;
use crate::url::Target;

/// `http[s]://[USER[:PASSWORD]@]HOST[:PORT]/PATH`. It is shown without the login in it.
#[derive(Clone)]
pub struct FileUrl {
    target: Target,
    shown: String,
    login: Option<Credentials>,
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileUrl").field(&self.shown).finish()
    }
}

impl FromStr for FileUrl {
    type Err = Error;

    /// # Errors
    /// [`Error::Url`].
    fn from_str(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(l, h)| (Some(l), h));
        let shown = format!("{scheme}://{host}{path}");
        let refused = || Error::Url { url: without_login(url) };
        let target = Target::parse(&shown).ok_or_else(refused)?;
        let credentials = |login: &str| {
            let (username, password) = login.split_once(':').unwrap_or((login, ""));
            Some(Credentials { username: unescaped(username)?, password: unescaped(password)? })
        };
        let login = match login.filter(|login| !login.is_empty()).map(credentials) {
            Some(None) => return Err(refused()),
            Some(login) => login,
            None => None,
        };
        Ok(Self { target, shown, login })
    }
}

impl FileUrl {
    /// Whether what is typed is meant as one: by its scheme, in upper or lower case.
    pub fn is_meant(text: &str) -> bool {
        has_scheme(text, "http://") || has_scheme(text, "https://")
    }

    /// `HOST[:PORT]`, the port where it is not the usual one.
    pub fn host(&self) -> String {
        self.target.origin.to_string()
    }

    /// Begins to fetch the file. Of the options the credentials are not used: those in the URL are, by the host that it names,
    /// and only as Basic: a token server would be chosen by the host, and might be anybody.
    ///
    /// Nothing says what the file must be. So one that breaks off is gone on with only if the server says that it is the same as
    /// before, by a strong `ETag`.
    ///
    /// # Errors
    /// All of [`Error`]. Errors of an answer call what was asked for "the file".
    pub fn fetch(&self, options: Options) -> Result<Blob, Error> {
        self.fetch_unless(options, &Cancel::never())
    }

    /// The same, which ends when `cancel` is set.
    ///
    /// # Errors
    /// As of [`fetch`](Self::fetch), and [`Error::Cancelled`].
    pub fn fetch_unless(&self, options: Options, cancel: &Cancel) -> Result<Blob, Error> {
        let (credentials, origin) = (self.login.clone(), &self.target.origin);
        let options = Options { credentials, identity_token: None, bearer: None, ..options };
        let mut client = Client::new(Host::of(origin), options)?;
        client.basic_only = true;
        // What is typed is what is meant: there is no other scheme to be tried.
        client.speak(origin.scheme);
        let place = Place::Registry(self.target.path.clone());
        let mut call = Call::get(place, Scopes::default(), "the file".to_owned(), Kind::Other);
        call.cancel = cancel.clone();
        Blob::open(Arc::new(client), call, None, 0, None).map_err(|error| match error {
            // Those that are saved are of registries.
            Error::Unauthorized { object, host, .. } => {
                let detail = ": it wants another login; write USER:PASSWORD@ before the host".to_owned();
                Error::Denied { object, host, detail }
            }
            other => other,
        })
    }
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// What can be shown of what is no URL: where its login ends is not known, as the password may have a `/`, `?`, `#` or `@` as it is.
/// So nothing before the last `@` is.
fn without_login(url: &str) -> String {
    let Some((_, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = ["https://", "http://"].into_iter().find(|scheme| has_scheme(url, scheme));
    format!("{}{rest}", scheme.unwrap_or_default())
}

/// Text with `%20` and the like.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_told_from_hosts_and_not_shown() {
        for (url, shown, login) in [
            ("http://h/x.tar", "http://h/x.tar", None),
            ("https://u:p%40%3a@h:8443/x?y=a@b", "https://h:8443/x?y=a@b", Some(("u", "p@:"))),
            ("https://u@h.test", "https://h.test", Some(("u", ""))),
            ("http://a@b:c@h/", "http://h/", Some(("a@b", "c"))),
            ("HTTP://[::1]:80/x#y", "HTTP://[::1]:80/x#y", None),
        ] {
            let parsed: FileUrl = url.parse().unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert!(format!("{parsed:?}").contains(shown));
            let found = parsed.login.as_ref().map(|l| (l.username.as_str(), l.password.as_str()));
            assert_eq!(found, login, "{url}");
        }
        for url in
            ["", "h/x", "ftp://h/x", "http://", "http:///x", "http://h:0/", "http://u:%zz@h/", "http://h/a b"]
        {
            let Err(error) = url.parse::<FileUrl>() else { panic!("{url}") };
            assert!(!error.to_string().contains("%zz"), "{error}");
        }
    }

    #[test]
    fn nothing_of_a_password_is_shown_of_what_is_no_url() {
        for (url, shown) in [
            ("https://ci:pa/ss@host.invalid/x", "https://host.invalid/x"),
            ("https://ci:pa#ss@host.invalid/x", "https://host.invalid/x"),
            ("https://ci:pa?ss@host.invalid/x", "https://host.invalid/x"),
            ("HTTP://ci:pa/ss@host.invalid/x", "http://host.invalid/x"),
            ("hTTpS://ci:/pass@host.invalid/x", "https://host.invalid/x"),
            ("https://ci:p@s:s/@[host", "https://[host"),
            ("https://ci:pa%zzss@host/x", "https://host/x"),
            ("https://ci:pass@host:port/x?y=a@b", "https://b"),
            ("pa://ss:pass@host/x", "host/x"),
            ("ci:pass@host/x", "host/x"),
            ("http://h:0/", "http://h:0/"),
        ] {
            let Err(Error::Url { url: found }) = url.parse::<FileUrl>() else { panic!("{url}") };
            assert_eq!(found, shown, "{url}");
        }
    }

    #[test]
    fn schemes_are_known_in_any_case() {
        for url in ["http://h/x", "HTTPS://u:p@h/x", "hTTp://h"] {
            assert!(FileUrl::is_meant(url) && url.parse::<FileUrl>().is_ok(), "{url}");
        }
        for file in ["", "-", "http:/x", "https", "httpé://x", "./http://x", "ftp://x"] {
            assert!(!FileUrl::is_meant(file), "{file}");
        }
    }
}
