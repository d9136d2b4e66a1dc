//! Lists of images to be copied from registries, in YAML: what `skopeo sync --src yaml` reads (skopeo-sync(1), "YAML file content").
//!
//! skopeo passes over what it does not understand, and copies the rest. Here a list that is not understood is refused, with the line.

mod versions;

use std::cell::Cell;
use std::path::PathBuf;

use loment_registry::Credentials;
use oci_spec::image::Digest;
use regex::bytes::{Regex, RegexBuilder};

use crate::conf::{ConfError, File, Position};
use crate::reference::Reference;
use crate::yaml::{self, Node, Value, failed};

pub use versions::{ImproperRange, Versions};

/// Memory that a compiled pattern may take, and what it finds out about tags: one of these, the least that does. One of a hundred
/// characters takes some KiB. The largest is as much as any may have.
const PATTERN: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// What all patterns of a list may take.
const MAX_PATTERNS: usize = 64 << 20;

/// Images of a registry to be copied.
#[derive(Clone, Debug)]
pub struct SyncRegistry {
    /// `host[:port]`, perhaps with the beginning of a path.
    pub name: String,
    /// In the order of the list.
    pub repositories: Vec<SyncRepository>,
    /// To log in with.
    pub credentials: Option<Credentials>,
    /// Whether certificates are verified.
    pub tls_verify: Option<bool>,
    /// With certificates.
    pub cert_dir: Option<PathBuf>,
}

/// Images of a repository.
#[derive(Clone, Debug)]
pub struct SyncRepository {
    /// Without tag and digest.
    pub name: Reference,
    /// Which of its images.
    pub wanted: Wanted,
}

/// Which images of a repository are meant.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// One for each of its tags.
    All,
    /// These, in full.
    These(Vec<Reference>),
    /// Those whose tags match a pattern somewhere (`images-by-tag-regex`).
    Matching(Regex),
    /// Those whose tags are versions of a range (`images-by-semver`).
    Versions(Versions),
}

impl Wanted {
    /// Whether the image of a tag is meant.
    pub fn has(&self, tag: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(images) => images.iter().any(|image| image.tag() == Some(tag)),
            Self::Matching(pattern) => pattern.is_match(tag.as_bytes()),
            Self::Versions(range) => range.include(tag),
        }
    }
}

/// Reads a list.
///
/// # Errors
/// [`ConfError::Syntax`].
pub fn parse_sync_list(file: File<'_>) -> Result<Vec<SyncRegistry>, ConfError> {
    let Some(top) = yaml::parse(file)? else { return Ok(Vec::new()) };
    let patterns = Cell::new(0);
    let reader = Reader { file, patterns: &patterns };
    reader
        .map(top, "the list must have registries")?
        .into_iter()
        .map(|entry| reader.registry(entry))
        .collect()
}

/// Makes sense of a tree.
#[derive(Clone, Copy)]
struct Reader<'f> {
    file: File<'f>,
    /// Bytes that the patterns of the list may take, until now.
    patterns: &'f Cell<usize>,
}

impl Reader<'_> {
    fn failed<T>(self, position: Position, message: impl Into<String>) -> Result<T, ConfError> {
        Err(failed(self.file, position, message))
    }

    fn registry(self, (name, node): (String, Node)) -> Result<SyncRegistry, ConfError> {
        let mut registry = SyncRegistry {
            name,
            repositories: Vec::new(),
            credentials: None,
            tls_verify: None,
            cert_dir: None,
        };
        for (key, node) in self.map(node, "a registry must have images")? {
            let position = node.position;
            match key.as_str() {
                "images" => {
                    self.images(&mut registry, node, |reader, name, node| reader.these(name, node))?
                }
                "images-by-tag-regex" => {
                    self.images(&mut registry, node, |reader, _, node| reader.pattern(node))?;
                }
                "images-by-semver" => {
                    self.images(&mut registry, node, |reader, _, node| reader.versions(node))?;
                }
                "credentials" => registry.credentials = self.credentials(node)?,
                "tls-verify" => registry.tls_verify = self.truth(&node)?,
                "cert-dir" => {
                    registry.cert_dir =
                        self.optional_text(node)?.filter(|d| !d.is_empty()).map(PathBuf::from);
                }
                other => {
                    let known =
                        "images, images-by-tag-regex, images-by-semver, credentials, tls-verify or cert-dir";
                    return self.failed(position, format!("unknown key {other:?}: use {known}"));
                }
            }
        }
        Ok(registry)
    }

    /// Repositories, each with what `wanted` makes of its value.
    fn images(
        self,
        registry: &mut SyncRegistry,
        node: Node,
        wanted: impl Fn(Self, &Reference, Node) -> Result<Wanted, ConfError>,
    ) -> Result<(), ConfError> {
        for (repository, node) in self.map(node, "expected names of repositories")? {
            let full = format!("{}/{repository}", registry.name);
            let name: Reference = match full.parse() {
                Ok(name) => name,
                Err(error) => return self.failed(node.position, format!("repository {full:?}: {error}")),
            };
            if name.tag().is_some() || name.digest().is_some() {
                let message = format!("{full:?} names an image, not a repository: put its tag into a list");
                return self.failed(node.position, message);
            }
            let wanted = wanted(self, &name, node)?;
            registry.repositories.push(SyncRepository { name, wanted });
        }
        Ok(())
    }

    /// Tags and digests; none are all.
    fn these(self, name: &Reference, node: Node) -> Result<Wanted, ConfError> {
        let items = match node.value {
            Value::List(items) => items,
            Value::Text { ref text, plain } if is_null(text, plain) => Vec::new(),
            _ => return self.failed(node.position, "expected a list of tags and digests, or [] for all"),
        };
        let mut images = Vec::new();
        for item in items {
            let position = item.position;
            let text = self.text(item)?;
            let image = match text.parse::<Digest>() {
                Ok(digest) => Ok(name.with_digest(digest)),
                Err(_) => name.with_tag(&text),
            };
            match image {
                Ok(image) => images.push(image),
                Err(error) => return self.failed(position, error.to_string()),
            }
        }
        Ok(if images.is_empty() { Wanted::All } else { Wanted::These(images) })
    }

    fn pattern(self, node: Node) -> Result<Wanted, ConfError> {
        let position = node.position;
        let text = self.text(node)?;
        match compiled(&text) {
            Ok((pattern, size)) => {
                let all = self.patterns.get() + size;
                if all > MAX_PATTERNS {
                    let limit = MAX_PATTERNS >> 20;
                    let message = format!(
                        "this regular expression and those before it may take more than the {limit} MiB that all of a list may: \
                         split the list"
                    );
                    return self.failed(position, message);
                }
                self.patterns.set(all);
                Ok(Wanted::Matching(pattern))
            }
            Err(error) => {
                let error = error.to_string();
                // The last line says what is wrong, those before show where.
                let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.failed(position, format!("invalid regular expression {text:?}: {what}"))
            }
        }
    }

    fn versions(self, node: Node) -> Result<Wanted, ConfError> {
        let position = node.position;
        match self.text(node)?.parse() {
            Ok(versions) => Ok(Wanted::Versions(versions)),
            Err(error) => self.failed::<Wanted>(position, ImproperRange::to_string(&error)),
        }
    }

    fn credentials(self, node: Node) -> Result<Option<Credentials>, ConfError> {
        let position = node.position;
        let (mut username, mut password) = (None, None);
        for (key, node) in self.map(node, "expected username and password")? {
            let position = node.position;
            match key.as_str() {
                "username" => username = self.optional_text(node)?,
                "password" => password = self.optional_text(node)?,
                other => {
                    let message = format!("unknown key {other:?} of credentials: use username and password");
                    return self.failed(position, message);
                }
            }
        }
        match (username.filter(|name| !name.is_empty()), password) {
            (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
            (None, None) => Ok(None),
            _ => self.failed(position, "credentials must have both username and password"),
        }
    }

    /// Entries; an empty value has none.
    fn map(self, node: Node, expected: &str) -> Result<Vec<(String, Node)>, ConfError> {
        match node.value {
            Value::Map(entries) => Ok(entries),
            Value::Text { ref text, plain } if is_null(text, plain) => Ok(Vec::new()),
            _ => self.failed(node.position, expected),
        }
    }

    fn text(self, node: Node) -> Result<String, ConfError> {
        let position = node.position;
        match self.optional_text(node)? {
            Some(text) => Ok(text),
            None => self.failed(position, "expected text, and there is nothing"),
        }
    }

    /// Numbers are text as they are written, as with skopeo: a tag may be 1.0.
    fn optional_text(self, node: Node) -> Result<Option<String>, ConfError> {
        match node.value {
            Value::Text { text, plain } => Ok((!is_null(&text, plain)).then_some(text)),
            _ => self.failed(node.position, "expected text"),
        }
    }

    /// True and false, with all the words of YAML 1.1 for them.
    fn truth(self, node: &Node) -> Result<Option<bool>, ConfError> {
        if let Value::Text { text, plain: true } = &node.value {
            if is_null(text, true) {
                return Ok(None);
            }
            let capital = |word: &str| {
                let mut letters = word.chars();
                letters.next().map(|first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
            };
            let is = |word: &&str| {
                text == word || *text == word.to_uppercase() || Some(text) == capital(word).as_ref()
            };
            if ["true", "yes", "on", "y"].iter().any(is) {
                return Ok(Some(true));
            }
            if ["false", "no", "off", "n"].iter().any(is) {
                return Ok(Some(false));
            }
        }
        self.failed(node.position, "expected true or false")
    }
}

/// A pattern, and the memory that it may take: twice the least limit that it keeps, for itself and for what it remembers of tags.
fn compiled(text: &str) -> Result<(Regex, usize), regex::Error> {
    let mut result = Err(regex::Error::CompiledTooBig(0));
    for limit in PATTERN {
        // Tags are ASCII, and \d and \w are so for Go.
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(limit).dfa_size_limit(limit);
        result = builder.build().map(|pattern| (pattern, 2 * limit));
        if !matches!(result, Err(regex::Error::CompiledTooBig(_))) {
            break;
        }
    }
    result
}

/// Whether a value is none.
fn is_null(text: &str, plain: bool) -> bool {
    plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
