//! What the machine's configuration says of registries, and the connections that are shared by all that use it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use loment_image::conf::Registries;
use loment_registry::{Credentials, Options, Proxy, Registry};

use crate::Error;

/// Why configuration cannot be read; the front end's own words.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// What configuration says. A front end reads it: the engine knows no file and no environment.
#[derive(Debug, Default)]
pub struct Settings {
    /// registries.conf
    pub registries: Registries,
    /// Through which proxies to go.
    pub proxy: Proxy,
}

type Load = dyn Fn() -> Result<Settings, LoadError> + Send + Sync;

/// Configuration that is read when it is first needed, and the registries that were spoken to. Clones share both.
#[derive(Clone)]
pub struct Ecosystem(Arc<Inner>);

struct Inner {
    load: Box<Load>,
    settings: OnceLock<Settings>,
    clients: Mutex<Vec<(Contact, Registry)>>,
}

/// What must be the same for connections and tokens to be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) host: String,
    pub(crate) insecure: bool,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) certs_dir: Vec<PathBuf>,
}

impl Ecosystem {
    /// What `load` will deliver.
    pub fn new(load: impl Fn() -> Result<Settings, LoadError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { load: Box::new(load), settings: OnceLock::new(), clients: Mutex::default() }))
    }

    /// What is configured.
    ///
    /// # Errors
    /// [`Error::Configuration`].
    pub fn settings(&self) -> Result<&Settings, Error> {
        if let Some(settings) = self.0.settings.get() {
            return Ok(settings);
        }
        let settings = (self.0.load)().map_err(Error::Configuration)?;
        Ok(self.0.settings.get_or_init(|| settings))
    }

    /// A client, the same one for the same contact.
    pub(crate) fn client(&self, contact: &Contact) -> Result<Registry, Error> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, registry)) = clients.iter().find(|(known, _)| known == contact) {
            return Ok(registry.clone());
        }
        let options = Options {
            insecure: contact.insecure,
            credentials: contact.credentials.clone(),
            cert_dir: contact.cert_dir.clone(),
            certs_dir: contact.certs_dir.clone(),
            proxy: self.settings()?.proxy.clone(),
            user_agent: concat!("loment/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Options::default()
        };
        let registry = Registry::new(&contact.host, options)?;
        clients.push((contact.clone(), registry.clone()));
        Ok(registry)
    }
}

/// Nothing is configured.
impl Default for Ecosystem {
    fn default() -> Self {
        Self::new(|| Ok(Settings::default()))
    }
}

impl fmt::Debug for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ecosystem").field("settings", &self.0.settings.get()).finish_non_exhaustive()
    }
}
