//! How registries are spoken to: what a command's flags say, over what is configured.

use std::path::PathBuf;

use loment_image::conf::{Login, RewriteError};
use loment_image::{Place, Reference, RegistrySource};
use loment_registry::{Blob, Credentials, FileUrl, Options, Registry};

use crate::Error;
use crate::ecosystem::{Contact, Ecosystem};

/// How a registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether certificates are verified and plain HTTP is refused, whatever is configured. Where nobody says anything certificates are
    /// verified, and plain HTTP is for loopback.
    pub tls_verify: Option<bool>,
    /// For the registry that is named, instead of what is saved; mirrors on other hosts do not get them.
    pub credentials: Option<Credentials>,
    /// A token that the registry that is named takes, instead of credentials.
    pub registry_token: Option<String>,
    /// Nobody logs in, whatever is saved.
    pub anonymous: bool,
    /// A directory with `*.crt`, `*.cert` and `*.key`, or with `HOST:PORT/*.crt`; goes before others.
    pub cert_dir: Option<PathBuf>,
    /// Directories with `HOST:PORT/*.crt`.
    pub certs_dir: Vec<PathBuf>,
    /// What is configured.
    pub ecosystem: Ecosystem,
}

/// Where something is read from: mirrors before the registry itself.
#[derive(Debug)]
pub(crate) struct Origins(Vec<(Registry, Reference)>);

impl Origins {
    /// What `reference` names there.
    pub(crate) fn source(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::any_of(self.0.iter().map(|(registry, name)| (registry, name)), reference)
    }
}

impl Access {
    /// Refuses what is one registry's alone, credentials or a token, for a name that may mean images of several: whoever is asked
    /// first would be shown what is for another.
    ///
    /// # Errors
    /// [`Error::WhoseCredentials`].
    pub fn is_for_one_of(&self, input: &str, candidates: &[Reference]) -> Result<(), Error> {
        let secret = self.credentials.is_some() || self.registry_token.is_some();
        let several = candidates.iter().any(|one| one.domain() != candidates[0].domain());
        if secret && several {
            let candidates = candidates.iter().map(Reference::to_string).collect();
            return Err(Error::WhoseCredentials { name: input.to_owned(), candidates });
        }
        Ok(())
    }

    /// Where a reference is read from.
    pub(crate) fn origins(&self, reference: &Reference) -> Result<Origins, Error> {
        let mut origins = Vec::new();
        for endpoint in self.ecosystem.settings()?.registries.endpoints(reference)? {
            let own = endpoint.reference.domain() == reference.domain();
            let (host, name) = (endpoint.reference.domain(), endpoint.reference.name());
            let registry = self.client(host, &name, endpoint.insecure, own)?;
            origins.push((registry, endpoint.reference));
        }
        Ok(Origins(origins))
    }

    /// A client for the registry that a reference names, to write to it or ask it for more than an image: mirrors and other
    /// locations count for reading images only, as for others.
    pub(crate) fn registry(&self, reference: &Reference) -> Result<Registry, Error> {
        let registries = &self.ecosystem.settings()?.registries;
        let insecure = registries.insecure(&reference.to_string()).map_err(RewriteError::from)?;
        self.client(reference.domain(), &reference.name(), insecure, true)
    }

    /// The same for what is in `other`, where flags were given for `named`: what they say of one host is not shown to another.
    /// Saved logins are each host's own.
    pub(crate) fn beyond(&self, named: &Place, other: &Reference) -> Self {
        let same = matches!(named, Place::Registry(named) if named.domain() == other.domain());
        let mut access = self.clone();
        if !same {
            access.credentials = None;
            // One with a directory for that host says what is for it.
            access.cert_dir.take_if(|directory| !directory.join(other.domain()).is_dir());
        }
        access
    }

    /// Asks the registry of a repository, or a registry, whether it lets us in.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`loment_registry::Error::Unauthorized`] when it does not.
    pub fn ping(&self, name: &str) -> Result<(), Error> {
        let insecure = self.ecosystem.settings()?.registries.insecure(name).map_err(RewriteError::from)?;
        let host = name.split('/').next().unwrap_or(name);
        Ok(self.client(host, name, insecure, true)?.ping()?)
    }

    /// Begins to fetch a file. Saved logins are of registries, and play no part.
    pub(crate) fn fetch(&self, url: &FileUrl) -> Result<Blob, Error> {
        Ok(url.fetch((self.file_options()?)(url))?)
    }

    /// How files are fetched.
    pub(crate) fn file_options(&self) -> Result<impl Fn(&FileUrl) -> Options + Sync, Error> {
        let (proxy, user_agent) = (&self.ecosystem.settings()?.proxy, self.ecosystem.user_agent()?);
        Ok(move |url: &FileUrl| {
            let (cert_dir, certs_dir) = self.certificates(&url.host());
            Options {
                insecure: self.tls_verify == Some(false),
                cert_dir,
                certs_dir,
                proxy: proxy.clone(),
                user_agent: user_agent.clone(),
                ..Options::default()
            }
        })
    }

    /// The directory with certificates for a host, and those with more of them.
    fn certificates(&self, host: &str) -> (Option<PathBuf>, Vec<PathBuf>) {
        let mut certs_dir = self.certs_dir.clone();
        // Podman's directory is one registry's; ours may be for several.
        let mut cert_dir = self.cert_dir.clone();
        if let Some(directory) = cert_dir.take_if(|directory| directory.join(host).is_dir()) {
            certs_dir.insert(0, directory);
        }
        (cert_dir, certs_dir)
    }

    fn client(&self, host: &str, name: &str, insecure: Option<bool>, own: bool) -> Result<Registry, Error> {
        let tls_verify = self.tls_verify.or(insecure.map(|insecure| !insecure));
        let login = match (&self.registry_token, &self.credentials) {
            (Some(token), _) if own => Login { bearer: Some(token.clone()), ..Login::default() },
            (_, Some(credentials)) if own => credentials.clone().into(),
            _ if self.anonymous => Login::default(),
            _ => self.ecosystem.login(name)?.unwrap_or_default(),
        };
        let (cert_dir, certs_dir) = self.certificates(host);
        self.ecosystem.client(&Contact { host: host.to_owned(), tls_verify, login, cert_dir, certs_dir })
    }
}
