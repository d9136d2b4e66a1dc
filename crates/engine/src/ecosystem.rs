//! What the machine's configuration says of registries, and the connections that are shared by all that use it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use loment_image::conf::{Login, Policy, Registries, SignaturePlaces, Subject};
use loment_registry::{Options, Proxy, Registry};

use crate::{Again, Error};

/// Who asks, unless somebody does through this program.
const OWN_NAME: &str = concat!("loment/", env!("CARGO_PKG_VERSION"));

/// Why configuration cannot be read; the front end's own words.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// Who knows saved logins. A front end does: some are kept by other programs, which libraries do not run.
pub trait Logins: fmt::Debug + Send + Sync {
    /// The login for a repository, `host[:port][/path]`.
    ///
    /// # Errors
    /// What is saved cannot be read.
    fn find(&self, name: &str) -> Result<Option<Login>, LoadError>;
}

/// None are saved.
#[derive(Debug)]
pub struct NoLogins;

impl Logins for NoLogins {
    fn find(&self, _: &str) -> Result<Option<Login>, LoadError> {
        Ok(None)
    }
}

/// What configuration says. A front end reads it: the engine knows no file and no environment.
#[derive(Debug)]
pub struct Settings {
    /// registries.conf
    pub registries: Registries,
    /// Through which proxies to go.
    pub proxy: Proxy,
    /// auth.json and its like.
    pub logins: Box<dyn Logins>,
    /// policy.json; or why it cannot be used, which refuses every image and nothing else.
    pub policy: Result<Policy, String>,
    /// containers.conf
    pub transfers: Transfers,
    /// registries.d
    pub signatures: SignaturePlaces,
    /// What registries are told before this program's own name.
    pub user_agent_prefix: Option<String>,
}

/// How images are fetched when a command does not say it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfers {
    /// Layers at the same time, instead of four.
    pub parallel: Option<usize>,
    /// How what went wrong on the way is tried again.
    pub again: Again,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            registries: Registries::default(),
            proxy: Proxy::default(),
            logins: Box::new(NoLogins),
            policy: Ok(Policy::accept_anything()),
            transfers: Transfers::default(),
            signatures: SignaturePlaces::default(),
            user_agent_prefix: None,
        }
    }
}

type Load = dyn Fn() -> Result<Settings, LoadError> + Send + Sync;

/// Configuration that is read when it is first needed, and the registries that were spoken to. Clones share both.
#[derive(Clone)]
pub struct Ecosystem(Arc<Inner>);

struct Inner {
    load: Box<Load>,
    settings: OnceLock<Settings>,
    clients: Mutex<Vec<(Contact, Registry)>>,
    /// What is known of repositories that were asked about: a helper program is not asked twice.
    logins: Mutex<HashMap<String, Option<Login>>>,
}

/// What must be the same for connections and tokens to be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) host: String,
    /// Whether certificates are verified and plain HTTP is refused, if somebody says it.
    pub(crate) tls_verify: Option<bool>,
    pub(crate) login: Login,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) certs_dir: Vec<PathBuf>,
}

impl Ecosystem {
    /// What `load` will deliver.
    pub fn new(load: impl Fn() -> Result<Settings, LoadError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            load: Box::new(load),
            settings: OnceLock::new(),
            clients: Mutex::default(),
            logins: Mutex::default(),
        }))
    }

    /// The saved login for a repository or registry.
    ///
    /// # Errors
    /// [`Error::Login`].
    pub fn login(&self, name: &str) -> Result<Option<Login>, Error> {
        let mut logins = self.0.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = logins.get(name) {
            return Ok(known.clone());
        }
        let found = self.settings()?.logins.find(name);
        let login = found.map_err(|source| Error::Login { name: name.to_owned(), source })?;
        logins.insert(name.to_owned(), login.clone());
        Ok(login)
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

    /// Who asks.
    pub(crate) fn user_agent(&self) -> Result<String, Error> {
        let prefix = self.settings()?.user_agent_prefix.iter().map(|prefix| format!("{prefix} "));
        Ok(prefix.collect::<String>() + OWN_NAME)
    }

    /// Whether the policy lets an image be used.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::BadPolicy`].
    pub fn allow(&self, image: &Subject) -> Result<(), Error> {
        match &self.settings()?.policy {
            Ok(policy) => Ok(policy.check(image)?),
            Err(problem) => Err(Error::BadPolicy { problem: problem.clone() }),
        }
    }

    /// A client, the same one for the same contact.
    pub(crate) fn client(&self, contact: &Contact) -> Result<Registry, Error> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, registry)) = clients.iter().find(|(known, _)| known == contact) {
            return Ok(registry.clone());
        }
        let options = Options {
            insecure: contact.tls_verify == Some(false),
            tls_only: contact.tls_verify == Some(true),
            credentials: contact.login.credentials.clone(),
            identity_token: contact.login.identity_token.clone(),
            bearer: contact.login.bearer.clone(),
            cert_dir: contact.cert_dir.clone(),
            certs_dir: contact.certs_dir.clone(),
            proxy: self.settings()?.proxy.clone(),
            user_agent: self.user_agent()?,
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
