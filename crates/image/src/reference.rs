//! Image references: the grammar of github.com/distribution/reference and Docker's normalisation.
//!
//! ```text
//! reference := name [ ":" tag ] [ "@" digest ]
//! name      := [ domain "/" ] component ( "/" component )*
//! domain    := host [ ":" digits ]         host := label ( "." label )* | "[" IPv6 "]"
//! component := [a-z0-9]+ ( separator [a-z0-9]+ )*      separator := "." | "_" | "__" | "-"+
//! tag       := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
//! ```

use std::fmt;
use std::str::FromStr;

use loment_store::Algorithm;
use oci_spec::image::Digest;

/// The registry meant when none is named.
const DOCKER_HUB: &str = "docker.io";
/// The repository prefix of Docker Hub's own images.
const OFFICIAL: &str = "library/";

/// Why a text is not a reference. Wording is what users of other engines know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parsing reference {input:?}: {problem}")]
pub struct ReferenceError {
    /// What was parsed.
    pub input: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Problem {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("unsupported digest algorithm")]
    Algorithm,
    #[error("invalid checksum digest format")]
    Digest,
    #[error("short-name did not resolve to an alias and no unqualified-search registries are defined")]
    NoSearchRegistries,
}

/// A full reference: domain and path are always there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and port of the registry.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository within the registry, `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// What to ask the registry for: the digest, or the tag, or `latest`.
    pub fn manifest(&self) -> &str {
        self.digest.as_ref().map_or(self.tag.as_deref().unwrap_or("latest"), AsRef::as_ref)
    }

    /// The name an image pulled by this reference gets in the store: `name@digest`, else `name:tag`.
    pub fn store_name(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.name()),
            None => format!("{}:{}", self.name(), self.tag.as_deref().unwrap_or("latest")),
        }
    }

    /// The short form Docker shows: no `docker.io/`, no `library/`. In full where the short form
    /// would mean something else: `docker.io/1.2/a` is not `1.2/a`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(path) = full.strip_prefix("docker.io/") else { return full };
        let short = match path.strip_prefix(OFFICIAL) {
            Some(rest) if !self.path[OFFICIAL.len()..].contains('/') => rest,
            _ => path,
        };
        if short.parse::<Self>().as_ref() == Ok(self) { short.to_owned() } else { full }
    }

    /// The same repository under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError { input: tag.to_owned(), problem: Problem::Format });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository at a digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Whether `input` names no registry, so that short-name rules decide what it means.
    pub fn is_short(input: &str) -> bool {
        split_domain(input).is_none()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses with Docker's defaults: no domain means `docker.io`, one component there means `library/`.
    fn from_str(input: &str) -> Result<Self, ReferenceError> {
        parse(input).map_err(|problem| ReferenceError { input: input.to_owned(), problem })
    }
}

fn parse(input: &str) -> Result<Reference, Problem> {
    if input.len() == 64 && input.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Problem::Identifier(input.to_owned()));
    }
    let (domain, rest) = split_domain(input).unwrap_or((DOCKER_HUB, input));
    let domain = if domain == "index.docker.io" { DOCKER_HUB } else { domain };
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let official = domain == DOCKER_HUB && !path.contains('/') && !path.is_empty();
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Problem::Uppercase(path));
    }
    if !is_domain(domain) || !path.split('/').all(is_component) || !tag.is_none_or(is_tag) {
        return Err(Problem::Format);
    }
    if domain.len() + 1 + path.len() > 255 {
        return Err(Problem::TooLong);
    }
    let digest = digest.map(parse_digest).transpose()?;
    Ok(Reference { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
}

/// The part before the first slash is a domain when it could not be a path component of Docker Hub.
fn split_domain(input: &str) -> Option<(&str, &str)> {
    let (first, rest) = input.split_once('/')?;
    let domain =
        first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase());
    domain.then_some((first, rest))
}

fn is_domain(domain: &str) -> bool {
    if let Some((address, port)) = domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let hex = address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return !address.is_empty()
            && hex
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alphanumeric = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    let mut separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || matches!(b, b'.' | b'-'))
}

fn parse_digest(text: &str) -> Result<Digest, Problem> {
    let (algorithm, hex) = text.split_once(':').ok_or(Problem::Format)?;
    if algorithm.is_empty() || hex.len() < 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::Format);
    }
    let digest = Digest::from_str(text).map_err(|_| Problem::Digest)?;
    if Algorithm::of(&digest).is_none() { Err(Problem::Algorithm) } else { Ok(digest) }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
