//! policy.json (containers-policy.json(5)): which images may be used.
//!
//! The file is read strictly: with an unknown key, or one that is there twice, it says nothing at all, and nothing is
//! accepted. Requirements of signatures are read and checked for sense; that they cannot be verified here yet refuses the image.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::{ConfError, Position};
use super::registries::File;
use super::strict::{Fields, Json, Wrong};
use crate::reference::Reference;

/// One thing an image must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing.
    InsecureAcceptAnything,
    /// No image does.
    Reject,
    /// A simple signature.
    SignedBy,
    /// A signed base layer.
    SignedBaseLayer,
    /// A signature of sigstore.
    SigstoreSigned,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsecureAcceptAnything => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::SignedBy => "signedBy",
            Self::SignedBaseLayer => "signedBaseLayer",
            Self::SigstoreSigned => "sigstoreSigned",
        })
    }
}

/// What an image must fulfil: all of it.
type Requirements = Vec<Requirement>;

/// Which images may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it is written.
    file: String,
    default: Requirements,
    /// By transport, then by scope.
    transports: BTreeMap<String, BTreeMap<String, Requirements>>,
}

/// An image, as policies know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `docker`, `oci`, `dir` and so on.
    pub transport: &'static str,
    /// What it is called in policies, then ever larger scopes it is in.
    pub scopes: Vec<String>,
    /// What people call it, with its transport.
    pub name: String,
}

/// An image may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The policy says so. The words are Podman's.
    #[error("Source image rejected: Running image {image} is rejected by policy ({file})")]
    Rejected {
        /// The image.
        image: String,
        /// The policy.
        file: String,
    },
    /// It would have to be verified.
    #[error(
        "Source image rejected: {file} requires {requirement} of {image}, and signatures are not verified yet: nothing is used unverified"
    )]
    Unverified {
        /// The image.
        image: String,
        /// The policy.
        file: String,
        /// What it requires.
        requirement: Requirement,
    },
}

impl Policy {
    /// Where there is no policy, everything is accepted.
    pub fn accept_anything() -> Self {
        let default = vec![Requirement::InsecureAcceptAnything];
        Self { file: String::new(), default, transports: BTreeMap::new() }
    }

    /// A policy as it was read.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn parse(file: File<'_>) -> Result<Self, ConfError> {
        let document: Json = serde_json::from_str(file.text).map_err(|error| {
            let text = error.to_string();
            let message = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned();
            let position = Position { line: error.line(), column: error.column() };
            ConfError::Syntax { file: file.name.to_owned(), position, message }
        })?;
        let invalid = |Wrong(problem)| ConfError::Policy { file: file.name.to_owned(), problem };
        read(document, file.name).map_err(invalid)
    }

    /// Whether an image may be used.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, subject: &Subject) -> Result<(), Refused> {
        let of_scope = |scopes: &'_ BTreeMap<String, Requirements>| {
            let own = subject.scopes.iter().find_map(|scope| scopes.get(scope));
            own.or_else(|| scopes.get("")).cloned()
        };
        let found = self.transports.get(subject.transport).and_then(of_scope);
        let (image, file) = (subject.name.clone(), self.file.clone());
        for requirement in found.as_ref().unwrap_or(&self.default) {
            match requirement {
                Requirement::InsecureAcceptAnything => {}
                Requirement::Reject => return Err(Refused::Rejected { image, file }),
                &requirement => return Err(Refused::Unverified { image, file, requirement }),
            }
        }
        Ok(())
    }
}

impl Subject {
    /// An image in a registry: its name with tag or digest; without; its namespaces and host; and `*.domain` for each domain
    /// the host is in.
    pub fn docker(reference: &Reference) -> Self {
        let name = reference.name();
        let mut scopes = vec![reference.store_name(), name.clone()];
        let mut rest = name.as_str();
        while let Some(slash) = rest.rfind('/') {
            rest = &rest[..slash];
            scopes.push(rest.to_owned());
        }
        let mut host = &rest[..rest.find(':').unwrap_or(rest.len())];
        while let Some(dot) = host.find('.') {
            host = &host[dot + 1..];
            scopes.push(format!("*.{host}"));
        }
        Self { transport: "docker", scopes, name: format!("docker://{}", reference.store_name()) }
    }

    /// An image of Docker's daemon, which has names as in registries.
    pub fn daemon(reference: &Reference) -> Self {
        let name = format!("docker-daemon:{}", reference.store_name());
        Self { transport: "docker-daemon", name, ..Self::docker(reference) }
    }

    /// An image in a file or directory, `path` being absolute and without links; `entry` is what its transport names in it, if it
    /// does that at all.
    pub fn path(transport: &'static str, path: &str, entry: Option<&str>) -> Self {
        let mut scopes: Vec<String> = entry.map(|entry| format!("{path}:{entry}")).into_iter().collect();
        let mut rest = path;
        while rest.len() > 1 {
            scopes.push(rest.to_owned());
            rest = rest.rfind('/').map_or("", |slash| &rest[..slash]);
        }
        let entry = entry.filter(|entry| !entry.is_empty()).map(|entry| format!(":{entry}"));
        Self { transport, scopes, name: format!("{transport}:{path}{}", entry.unwrap_or_default()) }
    }

    /// An image in another tool's storage, whose scopes begin with the storage in brackets: its name with tag; without; its
    /// namespaces; all of the storage.
    pub fn storage(driver: &str, root: &str, image: &str) -> Self {
        let store = format!("[{driver}@{root}]");
        let mut scopes = vec![format!("{store}{image}")];
        if let Ok(reference) = image.parse::<Reference>() {
            let mut rest = reference.name();
            scopes.extend([format!("{store}{}", reference.store_name()), format!("{store}{rest}")]);
            while let Some(slash) = rest.rfind('/') {
                rest.truncate(slash);
                scopes.push(format!("{store}{rest}"));
            }
        }
        scopes.extend([store.clone(), format!("[{root}]")]);
        Self { transport: "containers-storage", scopes, name: format!("containers-storage:{store}{image}") }
    }

    /// An image of a transport whose images have no names in policies: the transport's own scope counts.
    pub fn nameless(transport: &'static str, name: String) -> Self {
        Self { transport, scopes: Vec::new(), name }
    }
}

fn read(document: Json, file: &str) -> Result<Policy, Wrong> {
    let mut fields = Fields::of(document, "the policy")?;
    let default = fields.take("default").ok_or_else(|| Wrong::new("default policy is missing"))?;
    let default = requirements(default, "default")?;
    let mut transports = BTreeMap::new();
    if let Some(all) = fields.take("transports") {
        for (transport, scopes) in Fields::of(all, "transports")?.rest() {
            let mut known = BTreeMap::new();
            for (scope, list) in Fields::of(scopes, &format!("transport {transport:?}"))?.rest() {
                if !is_scope(&transport, &scope) {
                    return Err(Wrong(format!("{scope:?} is no scope of transport {transport:?}")));
                }
                let requirements = requirements(list, &format!("{transport}:{scope}"))?;
                known.insert(scope, requirements);
            }
            transports.insert(transport, known);
        }
    }
    fields.end()?;
    Ok(Policy { file: file.to_owned(), default, transports })
}

/// Whether a transport can have images in a scope; others' transports are not known here.
fn is_scope(transport: &str, scope: &str) -> bool {
    match transport {
        _ if scope.is_empty() => true,
        "docker-archive" => false,
        "dir" | "oci" | "oci-archive" => {
            let path = if transport == "dir" { scope } else { scope.split(':').next().unwrap_or(scope) };
            let part = |part: &str| !matches!(part, "" | "." | "..");
            path.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && rest.split('/').all(part))
        }
        _ => true,
    }
}

fn requirements(json: Json, what: &str) -> Result<Requirements, Wrong> {
    match json {
        Json::List(list) if !list.is_empty() => list.into_iter().map(|r| requirement(r, what)).collect(),
        Json::List(_) => Err(Wrong(format!("{what}: the list of requirements must not be empty"))),
        _ => Err(Wrong(format!("{what} is not a list of requirements"))),
    }
}

fn requirement(json: Json, what: &str) -> Result<Requirement, Wrong> {
    let mut fields = Fields::of(json, &format!("a requirement of {what}"))?;
    let kind = match fields.required("type")?.as_str() {
        "insecureAcceptAnything" => Requirement::InsecureAcceptAnything,
        "reject" => Requirement::Reject,
        "signedBy" => {
            let types = ["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"];
            let kind = fields.required("keyType")?;
            if !types.contains(&kind.as_str()) {
                return Err(Wrong(format!("invalid keyType {kind:?}")));
            }
            exactly_one(&mut fields, &["keyPath", "keyPaths", "keyData"])?;
            identity(fields.take("signedIdentity"))?;
            Requirement::SignedBy
        }
        "signedBaseLayer" => {
            let base = fields.take("baseLayerIdentity");
            identity(Some(base.ok_or_else(|| Wrong::new("signedBaseLayer has no baseLayerIdentity"))?))?;
            Requirement::SignedBaseLayer
        }
        "sigstoreSigned" => {
            sigstore(&mut fields)?;
            identity(fields.take("signedIdentity"))?;
            Requirement::SigstoreSigned
        }
        other => return Err(Wrong(format!("unknown policy requirement type {other:?}"))),
    };
    fields.end()?;
    Ok(kind)
}

/// Takes keys of which exactly one must be there; those of the plural have lists, those of data base64.
fn exactly_one(fields: &mut Fields, keys: &[&str]) -> Result<(), Wrong> {
    match sources(fields, keys)? {
        1 => Ok(()),
        0 => {
            Err(Wrong(format!("exactly one of {} must be specified, none of them present", keys.join(", "))))
        }
        _ => {
            Err(Wrong(format!("exactly one of {} must be specified, more than one present", keys.join(", "))))
        }
    }
}

/// How many of the keys are there.
fn sources(fields: &mut Fields, keys: &[&str]) -> Result<usize, Wrong> {
    let mut count = 0;
    for key in keys {
        let values = match key.ends_with('s') {
            true => fields.texts(key)?,
            false => fields.text(key)?.map(|text| vec![text]),
        };
        let Some(values) = values else { continue };
        count += 1;
        let data = key.trim_end_matches('s').ends_with("Data");
        let bad = |value: &String| value.is_empty() || (data && STANDARD.decode(value).is_err());
        if values.is_empty() || values.iter().any(bad) {
            return Err(Wrong(format!("{key} has no use")));
        }
    }
    Ok(count)
}

fn sigstore(fields: &mut Fields) -> Result<(), Wrong> {
    let keys = sources(fields, &["keyPath", "keyPaths", "keyData", "keyDatas"])?;
    let fulcio = fields.take("fulcio");
    let pki = fields.take("pki");
    if keys + usize::from(fulcio.is_some()) + usize::from(pki.is_some()) != 1 {
        let text = "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be specified";
        return Err(Wrong::new(text));
    }
    let rekor = ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];
    let rekor = sources(fields, &rekor)?;
    if rekor > 1 {
        return Err(Wrong::new("more than one source of Rekor's public key"));
    }
    if let Some(fulcio) = fulcio {
        let mut fulcio = Fields::of(fulcio, "fulcio")?;
        exactly_one(&mut fulcio, &["caPath", "caData"])?;
        fulcio.required("oidcIssuer")?;
        fulcio.required("subjectEmail")?;
        fulcio.end()?;
        if rekor == 0 {
            return Err(Wrong::new("fulcio needs Rekor's public key"));
        }
    }
    if let Some(pki) = pki {
        let mut pki = Fields::of(pki, "pki")?;
        exactly_one(&mut pki, &["caRootsPath", "caRootsData"])?;
        sources(&mut pki, &["caIntermediatesPath", "caIntermediatesData"])?;
        if pki.text("subjectEmail")?.is_none() & pki.text("subjectHostname")?.is_none() {
            return Err(Wrong::new("pki needs subjectEmail or subjectHostname"));
        }
        pki.end()?;
        if rekor > 0 {
            return Err(Wrong::new("pki has no use for Rekor's public key"));
        }
    }
    Ok(())
}

/// `signedIdentity`: of which name a signature must be.
fn identity(json: Option<Json>) -> Result<(), Wrong> {
    let Some(json) = json else { return Ok(()) };
    let mut fields = Fields::of(json, "an identity")?;
    match fields.required("type")?.as_str() {
        "matchExact" | "matchRepoDigestOrExact" | "matchRepository" => {}
        "exactReference" => {
            let text = fields.required("dockerReference")?;
            let whole = |r: Reference| r.tag().is_some() || r.digest().is_some();
            if !text.parse().is_ok_and(whole) {
                return Err(Wrong(format!("dockerReference {text:?} is no name with tag or digest")));
            }
        }
        "exactRepository" => {
            let text = fields.required("dockerRepository")?;
            if text.parse::<Reference>().is_err() {
                return Err(Wrong(format!("dockerRepository {text:?} is no name")));
            }
        }
        "remapIdentity" => {
            for key in ["prefix", "signedPrefix"] {
                let prefix = fields.required(key)?;
                // A host alone is one, too.
                let name = format!("{prefix}/x").parse::<Reference>();
                if !name.is_ok_and(|name| name.to_string() == format!("{prefix}/x")) {
                    return Err(Wrong(format!("{key} {prefix:?} is no prefix of a name")));
                }
            }
        }
        other => return Err(Wrong(format!("unknown policy reference match type {other:?}"))),
    }
    fields.end()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
