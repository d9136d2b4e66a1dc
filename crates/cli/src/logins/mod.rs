//! Saved logins: which files and programs have them, in which order they are asked, and how they are changed.

mod files;
mod helpers;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use loment_engine::{LoadError, Logins, in_go};
use loment_image::conf::{AuthFile, AuthFormat, ConfError, HelperFor, Login, Registries};
use loment_registry::Credentials;

pub(crate) use files::{Place, Places, choose_docker_config};

/// How often other programs may change a file before a change of ours is given up.
const MAX_CHANGES: u32 = 100;

/// Why saved logins cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Conf(#[from] ConfError),
    #[error("{operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{} is being changed by another command, which has not ended within {seconds} s: try again, or remove {} when nobody has it open",
        path.display(), lock.display()
    )]
    Busy { path: PathBuf, lock: PathBuf, seconds: u64 },
    #[error("{} is no lock of ours, since others can hold it: remove it", path.display())]
    ForeignLock { path: PathBuf },
    #[error("{} is changed by other programs again and again: try again", path.display())]
    Contended { path: PathBuf },
    #[error("{program} is not installed: logins are configured to be kept by it")]
    NoHelper { program: String },
    #[error("{program} {action}: {message}")]
    Helper { program: String, action: &'static str, message: String },
    #[error("there is no place for logins: set HOME, or use --authfile")]
    NoPlace,
}

/// All places with logins, as configured.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// Who knows them, in order; `None` is the files.
    helpers: Vec<Option<String>>,
    places: Places,
}

/// What saving or removing a login did.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Where it is now, for people.
    pub(crate) place: String,
}

impl Keyring {
    /// The places that configuration and flags name.
    pub(crate) fn new(registries: &Registries, places: Places) -> Self {
        Self { helpers: registries.helpers().map(|h| h.map(str::to_owned)).collect(), places }
    }

    /// The login for a repository, `host[:port][/path]`.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Login>, LoginError> {
        let registry = registry_of(name);
        // The first that knows it counts; that another cannot say is an error only if nobody knows it.
        let mut problem = None;
        for helper in &self.helpers {
            let found = match helper {
                Some(helper) => helpers::get(helper, registry),
                None => self.in_files(name),
            };
            match found {
                Ok(Some(login)) => return Ok(Some(login)),
                Ok(None) => {}
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(None), Err)
    }

    fn in_files(&self, name: &str) -> Result<Option<Login>, LoginError> {
        let registry = registry_of(name);
        for place in self.places.read_order() {
            let file = place.read()?;
            let login = match file.helper(registry) {
                Some(HelperFor { helper, server, .. }) => helpers::get(&helper, &server)?,
                None => match (file.find(name)?, file.store(registry)) {
                    (None, Some(store)) => in_store(&store)?,
                    (found, _) => found,
                },
            };
            if login.is_some() {
                return Ok(login);
            }
        }
        Ok(None)
    }

    /// Saves a login: in the first place that takes it.
    pub(crate) fn set(&self, name: &str, credentials: &Credentials) -> Result<Saved, LoginError> {
        let mut problem = None;
        for helper in &self.helpers {
            let saved = match helper {
                Some(helper) => helpers::store(helper, registry_of(name), credentials)
                    .map(|()| Saved { place: format!("credential helper: {helper}") }),
                None => self.set_in_file(name, credentials),
            };
            match saved {
                Ok(saved) => return Ok(saved),
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.unwrap_or(LoginError::NoPlace))
    }

    fn set_in_file(&self, name: &str, credentials: &Credentials) -> Result<Saved, LoginError> {
        let place = self.places.written()?;
        let path = place.path.display().to_string();
        place.change(|file| {
            let own = file.helper(name);
            let store = file.store(name).filter(|_| place.format == AuthFormat::Docker);
            match own.or(store) {
                Some(HelperFor { helper, server, .. }) => helpers::store(&helper, &server, credentials)
                    .map(|()| (Saved { place: format!("credential helper: {helper}") }, false)),
                None => Ok(file.set(name, credentials).map(|()| (Saved { place: path.clone() }, true))?),
            }
        })
    }

    /// Takes a login away wherever logins are written to; whether there was one.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, LoginError> {
        let (mut found, mut problem) = (false, None);
        for helper in &self.helpers {
            let removed = match helper {
                Some(helper) => helpers::erase(helper, registry_of(name)),
                None => self.remove_from_file(name),
            };
            match removed {
                Ok(removed) => found |= removed,
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(found), Err)
    }

    fn remove_from_file(&self, name: &str) -> Result<bool, LoginError> {
        let place = self.places.written()?;
        let found = Cell::new(false);
        place.change(|file| {
            let own = file.helper(name);
            let store = file.store(name).filter(|_| place.format == AuthFormat::Docker);
            for HelperFor { helper, server, .. } in own.into_iter().chain(store) {
                found.set(helpers::erase(&helper, &server)? || found.get());
            }
            let here = file.remove(name);
            Ok((found.get() || here, here))
        })
    }

    /// Takes all logins away.
    pub(crate) fn remove_all(&self) -> Result<(), LoginError> {
        let mut problem = None;
        for helper in &self.helpers {
            let removed = match helper {
                Some(helper) => clear_helper(helper),
                None => self.places.written().and_then(|place| {
                    place.change(|file| {
                        for HelperFor { helper, server, .. } in file.helpers() {
                            helpers::erase(&helper, &server)?;
                        }
                        file.clear();
                        Ok(((), true))
                    })
                }),
            };
            if let Err(error) = removed {
                problem = Some(error);
            }
        }
        problem.map_or(Ok(()), Err)
    }
}

impl Logins for Keyring {
    fn find(&self, name: &str) -> Result<Option<Login>, LoadError> {
        Ok(self.get(name)?)
    }
}

/// A store for all of Docker's logins that is not installed keeps nobody from pulling public images.
fn in_store(store: &HelperFor) -> Result<Option<Login>, LoginError> {
    match helpers::get(&store.helper, &store.server) {
        Err(LoginError::NoHelper { .. }) => Ok(None),
        other => other,
    }
}

fn clear_helper(helper: &str) -> Result<(), LoginError> {
    let known = match helpers::list(helper) {
        Err(LoginError::NoHelper { .. }) => return Ok(()),
        other => other?,
    };
    known.keys().try_for_each(|server| helpers::erase(helper, server).map(drop))
}

fn registry_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

impl Place {
    /// What is in the file; nothing if it is not there.
    fn read(&self) -> Result<AuthFile, LoginError> {
        let text = self.text()?;
        let name = self.path.display().to_string();
        let file = loment_image::conf::File { name: &name, text: &text };
        Ok(AuthFile::parse(file, self.format)?)
    }

    /// Changes the file, unless `step` says that nothing has changed. When another program has put its own version there meanwhile,
    /// that one is changed.
    fn change<T>(
        &self,
        step: impl Fn(&mut AuthFile) -> Result<(T, bool), LoginError>,
    ) -> Result<T, LoginError> {
        let _lock = self.lock()?;
        for _ in 0..MAX_CHANGES {
            let before = self.stamp();
            let mut file = self.read()?;
            let (result, changed) = step(&mut file)?;
            if !changed || self.replace(&file.to_text(), before)? {
                return Ok(result);
            }
        }
        Err(LoginError::Contended { path: self.path.clone() })
    }
}

/// The place of a file a flag names.
pub(crate) fn checked(path: &Path) -> Result<&Path, crate::error::Error> {
    match path.metadata() {
        Ok(_) => Ok(path),
        // In Podman's words.
        Err(source) => {
            let why = in_go(&source);
            let text = format!("credential file is not accessible: faccessat {}: {why}", path.display());
            Err(crate::error::Error::Invalid(text))
        }
    }
}
