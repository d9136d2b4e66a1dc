//! The configuration of the ecosystem, where others keep it: finds files, reads the environment. What is in the files is
//! read by `loment_image::conf`.
//!
//! A file `NAME` is the first there is of those below the user's configuration directory, `/etc/containers` and
//! `/usr/share/containers`. Files of `NAME.d` in all three come after it, in the order of their names; of several with one name
//! only the user's counts, or else the one in `/etc`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use loment_engine::{Again, Ecosystem, Settings, Transfers};
use loment_image::conf::{ConfError, File, Policy, Registries, SignaturePlaces, TransferDefaults};
use loment_registry::Proxy;

use crate::error::{Doing, Error, one_line};
use crate::logins::{Keyring, Places};
use crate::units::delay;
use crate::{containers_conf, rootless};

/// No configuration is larger.
const MAX_FILE: u64 = 4 << 20;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Text {
    path: String,
    text: String,
}

impl Text {
    pub(crate) fn file(&self) -> File<'_> {
        File { name: &self.path, text: &self.text }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// An environment variable that is set to something; `env` of `[engine]` in containers.conf goes before the environment.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    let configured = containers_conf::variable(name).map(OsString::from);
    configured.or_else(|| env::var_os(name)).filter(|value| !value.is_empty())
}

/// Where this user keeps configuration: `$XDG_CONFIG_HOME`, or `~/.config`.
pub(crate) fn user_config() -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let xdg = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(absolute);
    xdg.or_else(|| home().map(|home| home.join(".config")))
}

pub(crate) fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The directories with configuration, the most important one first.
fn directories() -> Vec<PathBuf> {
    let user = user_config().map(|config| config.join("containers"));
    user.into_iter().chain(["/etc/containers", "/usr/share/containers"].map(PathBuf::from)).collect()
}

/// A text file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Text>, Error> {
    let doing = || format!("read {}", path.display());
    let file = match std::fs::File::open(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        other => other.doing(doing)?,
    };
    let mut text = String::new();
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text).doing(doing)?;
    if length as u64 > MAX_FILE {
        let message =
            format!("{}: a configuration of more than {MAX_FILE} bytes is not read", path.display());
        return Err(Error::Invalid(message));
    }
    Ok(Some(Text { path: path.display().to_string(), text }))
}

/// A file of the user (unless that is root), the administrator or the distribution: the first there is.
pub(crate) fn first(name: &str) -> Result<Option<Text>, Error> {
    let own = usize::from(user_config().is_some() && !rootless::is_rootless());
    for directory in directories().into_iter().skip(own) {
        if let Some(text) = read(&directory.join(name))? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// A file that must be there.
pub(crate) fn required(path: &Path) -> Result<Text, Error> {
    let missing = || std::io::Error::from(rustix::io::Errno::NOENT);
    read(path)?.ok_or_else(missing).doing(|| format!("read {}", path.display()))
}

/// The files that `NAME.conf` consists of, in the order in which they count. `variables` name one file instead of all.
pub(crate) fn layered(name: &str, variables: &[&str]) -> Result<Vec<Text>, Error> {
    layered_with(name, variables, &[])
}

/// The same with modules of containers.conf.
pub(crate) fn layered_with(name: &str, variables: &[&str], modules: &[String]) -> Result<Vec<Text>, Error> {
    let mut texts = Vec::new();
    if let Some(chosen) = variables.iter().find_map(|name| variable(name)) {
        texts.push(required(Path::new(&chosen))?);
    } else {
        let directories = directories();
        for directory in &directories {
            if let Some(text) = read(&directory.join(name))? {
                texts.push(text);
                break;
            }
        }
        for path in drop_ins(name, &directories)? {
            texts.extend(read(&path)?);
        }
    }
    for module in modules {
        texts.push(required(&containers_conf::module(module, &directories())?)?);
    }
    let last = variables.first().and_then(|first| variable(&format!("{first}_OVERRIDE")));
    if let Some(last) = last {
        texts.push(required(Path::new(&last))?);
    }
    Ok(texts)
}

/// The drop-ins of a file, by name.
fn drop_ins(name: &str, directories: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let stem = name.trim_end_matches(".conf");
    let kinds = match rootless::is_rootless() {
        false => vec![format!("{stem}.conf.d"), format!("{stem}.rootful.conf.d")],
        true => {
            let own = format!("{stem}.rootless.conf.d/{}", rootless::user());
            vec![format!("{stem}.conf.d"), format!("{stem}.rootless.conf.d"), own]
        }
    };
    let mut found = BTreeMap::new();
    for directory in directories.iter().rev() {
        for kind in &kinds {
            let directory = directory.join(kind);
            let entries = match std::fs::read_dir(&directory) {
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                other => other.doing(|| format!("read {}", directory.display()))?,
            };
            for entry in entries {
                let path = entry.doing(|| format!("read {}", directory.display()))?.path();
                if path.extension().is_some_and(|extension| extension == "conf") {
                    found.insert(path.file_name().unwrap_or_default().to_owned(), path);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// registries.conf with its drop-ins, or the file that a flag names alone, and the recorded aliases.
pub(crate) fn registries(chosen: Option<&Path>) -> Result<Registries, Error> {
    let invalid = |e: ConfError| Error::Invalid(e.to_string());
    let texts = match chosen {
        Some(path) => vec![required(path)?],
        None => layered("registries.conf", &["CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH"])?,
    };
    let mut registries = Registries::parse(texts.iter().map(Text::file)).map_err(invalid)?;
    if let Some(recorded) = recorded_aliases().map(|path| read(&path)).transpose()?.flatten() {
        registries.add_recorded(recorded.file()).map_err(invalid)?;
    }
    Ok(registries)
}

/// What containers.conf says of transfers: how layers are compressed, and the rest.
pub(crate) fn transfers() -> Result<(TransferDefaults, Transfers), Error> {
    let conf = containers_conf::read()?;
    conf.text_as(containers_conf::ENGINE, "image_default_transport", |text| match text {
        "docker://" => Ok(()),
        _ => Err(Error::Invalid("use docker://, and write other places before the names of images".into())),
    })?;
    let texts = conf.texts();
    let invalid = |e: ConfError| Error::Invalid(e.to_string());
    let all = TransferDefaults::parse(texts.iter().map(Text::file)).map_err(invalid)?;
    let delay = all.retry_delay.as_deref().map(|text| {
        let wrong =
            |use_this| format!("invalid value {text:?} for retry_delay in containers.conf: {use_this}");
        delay(text).map_err(|use_this| Error::Invalid(wrong(use_this)))
    });
    let transfers =
        Transfers { parallel: all.parallel, again: Again { times: all.retry, delay: delay.transpose()? } };
    Ok((all, transfers))
}

/// Where it is recorded what somebody has once chosen for a short name.
pub(crate) fn recorded_aliases() -> Option<PathBuf> {
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let default = || match rootless::is_rootless() {
        false => Some(PathBuf::from("/var/cache")),
        true => home().map(|home| home.join(".cache")),
    };
    cache.or_else(default).map(|cache| cache.join("containers/short-name-aliases.conf"))
}

/// What flags say instead of what is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// The file with logins.
    pub(crate) authfile: Option<PathBuf>,
    /// Who decides which images are accepted.
    pub(crate) policy: Judge,
    /// The file about registries.
    pub(crate) registries_conf: Option<PathBuf>,
    /// The directory that says where signatures are.
    pub(crate) registries_d: Option<PathBuf>,
    /// Whether certificates are verified, unless a flag of the command says it.
    pub(crate) tls_verify: Option<bool>,
    /// What registries are told before this program's own name.
    pub(crate) user_agent_prefix: Option<String>,
}

impl Chosen {
    /// The policy that a command's own flag names goes before what `self` says.
    pub(crate) fn or_policy(&self, flag: Option<&PathBuf>) -> Self {
        let policy = flag.map_or_else(|| self.policy.clone(), |path| Judge::File(path.clone()));
        Self { policy, ..self.clone() }
    }

    /// With a command's own file of logins.
    pub(crate) fn with_logins(&self, authfile: Option<&PathBuf>) -> Self {
        Self { authfile: authfile.cloned(), ..self.clone() }
    }
}

/// Who decides which images are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Judge {
    /// policy.json where it usually is.
    #[default]
    Configured,
    /// This file.
    File(PathBuf),
    /// Nobody: all are.
    Nobody,
}

/// Where signatures are, as the files of registries.d say: the user's directory, or else the machine's. One that a flag names must
/// be there.
pub(crate) fn signatures(chosen: Option<&Path>) -> Result<SignaturePlaces, Error> {
    let own = user_config().map(|config| config.join("containers/registries.d")).filter(|dir| dir.is_dir());
    let usual = || own.unwrap_or_else(|| PathBuf::from("/etc/containers/registries.d"));
    let dir = chosen.map_or_else(usual, Path::to_path_buf);
    let doing = || format!("read {}", dir.display());
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound && chosen.is_none() => {
            return Ok(SignaturePlaces::default());
        }
        other => other.doing(doing)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.doing(doing)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        texts.extend(read(&path)?);
    }
    SignaturePlaces::parse(texts.iter().map(Text::file)).map_err(|e| Error::Invalid(e.to_string()))
}

/// All of it, to be read when it is needed.
pub(crate) fn ecosystem(chosen: Chosen) -> Ecosystem {
    Ecosystem::new(move || {
        // First: it may set variables.
        let (_, transfers) = transfers()?;
        let registries = registries(chosen.registries_conf.as_deref())?;
        let logins = Keyring::new(&registries, Places::find(chosen.authfile.as_deref(), false));
        let policy = policy(&chosen.policy).map_err(|e| one_line(&e));
        let signatures = signatures(chosen.registries_d.as_deref())?;
        Ok(Settings {
            registries,
            proxy: proxy(),
            logins: Box::new(logins),
            policy,
            transfers,
            signatures,
            user_agent_prefix: chosen.user_agent_prefix.clone(),
        })
    })
}

/// policy.json: the one that is chosen, or the first there is. Where there is none, everything is accepted.
pub(crate) fn policy(judge: &Judge) -> Result<Policy, Error> {
    let text = match judge {
        Judge::Nobody => None,
        Judge::File(path) => Some(required(path)?),
        Judge::Configured => {
            let mut found = None;
            for directory in directories() {
                found = read(&directory.join("policy.json"))?;
                if found.is_some() {
                    break;
                }
            }
            found
        }
    };
    let Some(text) = text else { return Ok(Policy::accept_anything()) };
    Policy::parse(text.file()).map_err(|e| Error::Invalid(e.to_string()))
}

/// Directories with certificates of registries, `HOST:PORT/*.crt` (containers-certs.d(5)); the first that has one for a
/// registry is used.
pub(crate) fn certificates() -> Vec<PathBuf> {
    let user = user_config().map(|config| config.join("containers/certs.d"));
    user.into_iter().chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from)).collect()
}

/// Proxies, as the environment names them.
fn proxy() -> Proxy {
    // Who starts a CGI program chooses the value of HTTP_PROXY (CVE-2016-5385).
    let cgi = variable("REQUEST_METHOD").is_some();
    let text = |names: &[&str]| names.iter().find_map(|name| variable(name)?.into_string().ok());
    Proxy {
        http: text(if cgi { &["http_proxy"] } else { &["HTTP_PROXY", "http_proxy"] }),
        https: text(&["HTTPS_PROXY", "https_proxy"]),
        no_proxy: text(&["NO_PROXY", "no_proxy"]),
    }
}
