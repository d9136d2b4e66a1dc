//! Saved logins: auth.json (containers-auth.json(5)), Docker's config.json, and its old .dockercfg.
//!
//! What else is in a file stays as it is when a login is added or taken away. Messages never show what may be a secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loment_registry::Credentials;
use serde_json::{Map, Value, json};

use super::error::{ConfError, Position};
use super::registries::File;

/// Docker Hub, as Docker calls it in its files and to its helpers.
const HUB: &str = "https://index.docker.io/v1/";
const AUTHS: &str = "auths";
const HELPERS: &str = "credHelpers";
const STORE: &str = "credsStore";

/// What is known of a login; nothing in it is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// A token to get others with (`identitytoken`).
    pub identity_token: Option<String>,
    /// A token that the registry takes (`registrytoken`).
    pub bearer: Option<String>,
}

impl Login {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.credentials.is_none() && self.identity_token.is_none() && self.bearer.is_none()
    }
}

impl From<Credentials> for Login {
    fn from(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..Self::default() }
    }
}

/// Without secrets.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// A program that keeps logins, and what it calls a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperFor {
    /// `docker-credential-NAME`.
    pub helper: String,
    /// What to ask it for.
    pub server: String,
    /// It keeps all logins of Docker's: others work without it.
    pub store: bool,
}

/// Which kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFormat {
    /// auth.json: keys are registries, or repositories in them.
    Containers,
    /// config.json: Docker Hub has another name, and there are no keys for repositories.
    Docker,
    /// .dockercfg: the logins alone, by URL.
    Legacy,
}

/// A file with logins.
#[derive(Clone)]
pub struct AuthFile {
    name: String,
    format: AuthFormat,
    document: Map<String, Value>,
}

/// Without secrets.
impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AuthFile {
    /// A file as it was read; an empty one has no logins.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn parse(file: File<'_>, format: AuthFormat) -> Result<Self, ConfError> {
        let name = file.name.to_owned();
        let document = match file.text.trim() {
            "" => Map::new(),
            _ => serde_json::from_str(file.text).map_err(|e| syntax(&name, &e))?,
        };
        let file = Self { name, format, document };
        for key in [AUTHS, HELPERS] {
            if format != AuthFormat::Legacy && file.document.get(key).is_some_and(|v| !is_table(v)) {
                return Err(file.wrong(key, "", "use an object"));
            }
        }
        Ok(file)
    }

    fn wrong(&self, key: &'static str, value: &str, problem: &'static str) -> ConfError {
        ConfError::Value { file: self.name.clone(), key, value: value.to_owned(), problem }
    }

    fn table(&self, key: &str) -> Option<&Map<String, Value>> {
        match self.format {
            AuthFormat::Legacy => Some(&self.document).filter(|_| key == AUTHS),
            _ => self.document.get(key)?.as_object(),
        }
    }

    /// The program that is to be asked for a registry's login, before this file is.
    pub fn helper(&self, registry: &str) -> Option<HelperFor> {
        let helper = self.table(HELPERS)?.get(registry)?.as_str().filter(|helper| !helper.is_empty())?;
        Some(HelperFor { helper: helper.to_owned(), server: registry.to_owned(), store: false })
    }

    /// All programs that keep the login of a certain registry.
    pub fn helpers(&self) -> Vec<HelperFor> {
        let registries = self.table(HELPERS).into_iter().flatten();
        registries.filter_map(|(registry, _)| self.helper(registry)).collect()
    }

    /// The program that keeps what is not in this file (`credsStore`).
    pub fn store(&self, registry: &str) -> Option<HelperFor> {
        if self.format == AuthFormat::Legacy {
            return None;
        }
        let helper = self.document.get(STORE)?.as_str().filter(|helper| !helper.is_empty())?;
        let server = if is_hub(registry) { HUB } else { registry };
        Some(HelperFor { helper: helper.to_owned(), server: server.to_owned(), store: true })
    }

    /// The login for a repository, `host[:port][/path]`: the one for it, or for the longest part of it that has one.
    ///
    /// # Errors
    /// [`ConfError`] for one that cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<Login>, ConfError> {
        let Some(auths) = self.table(AUTHS) else { return Ok(None) };
        let registry = name.split('/').next().unwrap_or(name);
        let mut key = if self.format == AuthFormat::Legacy { registry } else { name };
        let mut found = None;
        loop {
            if let Some(entry) = auths.get(key) {
                found = Some((key, entry));
                break;
            }
            match key.rfind('/') {
                Some(slash) => key = &key[..slash],
                None => break,
            }
        }
        // Docker has had URLs as keys, and has one for its own registry.
        let spelled = |key: &&String| normal(host_of(key, self.format)) == normal(registry);
        let other = || auths.iter().find(|(key, _)| spelled(key)).map(|(key, entry)| (key.as_str(), entry));
        match found.or_else(other) {
            Some((key, entry)) => self.decode(key, entry).map(|login| Some(login).filter(|l| !l.is_empty())),
            None => Ok(None),
        }
    }

    fn decode(&self, key: &str, entry: &Value) -> Result<Login, ConfError> {
        let text = |field: &'static str| match entry.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong("login for", key, "use texts")),
        };
        let mut login = Login {
            credentials: None,
            identity_token: text("identitytoken")?,
            bearer: text("registrytoken")?,
        };
        let Some(auth) = text("auth")? else { return Ok(login) };
        let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(pair) = decoded else {
            return Err(self.wrong("login for", key, "its auth is not base64 of USER:PASSWORD"));
        };
        // What has no password is passed over, as by others; some pad it with zeros.
        if let Some((username, password)) = pair.split_once(':') {
            let password = password.trim_end_matches('\0');
            if !username.is_empty() && !password.is_empty() {
                let (username, password) = (username.to_owned(), password.to_owned());
                login.credentials = Some(Credentials { username, password });
            }
        }
        Ok(login)
    }

    /// The key under which this file has the login of a registry or repository.
    ///
    /// # Errors
    /// [`ConfError`] for a repository in Docker's file.
    fn key<'n>(&self, name: &'n str) -> Result<&'n str, ConfError> {
        match self.format {
            AuthFormat::Containers => Ok(name),
            _ if name.contains('/') => {
                Err(self.wrong("login for", name, "Docker's file has whole registries only"))
            }
            _ if is_hub(name) => Ok(HUB),
            _ => Ok(name),
        }
    }

    /// Adds a login, or replaces one.
    ///
    /// # Errors
    /// [`ConfError`] for a repository in Docker's file.
    pub fn set(&mut self, name: &str, credentials: &Credentials) -> Result<(), ConfError> {
        let pair = format!("{}:{}", credentials.username, credentials.password);
        let key = self.key(name)?;
        let auths = match self.format {
            AuthFormat::Legacy => Some(&mut self.document),
            _ => self.document.entry(AUTHS).or_insert_with(|| json!({})).as_object_mut(),
        };
        if let Some(auths) = auths {
            // Another spelling of the same registry would be found before it.
            if self.format != AuthFormat::Containers {
                auths.retain(|known, _| normal(host_of(known, self.format)) != normal(name));
            }
            auths.insert(key.to_owned(), json!({ "auth": STANDARD.encode(pair) }));
        }
        Ok(())
    }

    /// Takes a login away, however its registry is spelled; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let format = self.format;
        let other = |key: &str| key != name && normal(host_of(key, format)) != normal(name);
        let auths = match self.format {
            AuthFormat::Legacy => Some(&mut self.document),
            _ => self.document.get_mut(AUTHS).and_then(Value::as_object_mut),
        };
        auths.is_some_and(|auths| {
            let before = auths.len();
            auths.retain(|key, _| other(key));
            auths.len() < before
        })
    }

    /// Takes all logins away.
    pub fn clear(&mut self) {
        match self.format {
            AuthFormat::Legacy => self.document.clear(),
            _ => {
                self.document.insert(AUTHS.to_owned(), json!({}));
                self.document.remove(HELPERS);
            }
        }
    }

    /// The file's new text.
    pub fn to_text(&self) -> String {
        format!("{:#}\n", Value::Object(self.document.clone()))
    }
}

/// What a credential helper prints for `get`.
///
/// # Errors
/// [`ConfError`], where `helper` is the file.
pub fn parse_helper_answer(helper: &str, text: &str) -> Result<Login, ConfError> {
    let answer: Value = serde_json::from_str(text).map_err(|e| syntax(helper, &e))?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (username, secret) = (field("Username"), field("Secret"));
    Ok(match username.as_str() {
        // The helpers' own mark (docker/cli, config/credentials).
        "<token>" => Login { identity_token: Some(secret).filter(|s| !s.is_empty()), ..Login::default() },
        "" => Login::default(),
        _ if secret.is_empty() => Login::default(),
        _ => Credentials { username, password: secret }.into(),
    })
}

fn is_table(value: &Value) -> bool {
    value.is_object() || value.is_null()
}

fn syntax(name: &str, error: &serde_json::Error) -> ConfError {
    let position = Position { line: error.line(), column: error.column() };
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    // A value of the wrong type would be shown.
    let message = if error.is_data() { "an object is expected" } else { message };
    ConfError::Syntax { file: name.to_owned(), position, message: message.to_owned() }
}

fn is_hub(registry: &str) -> bool {
    normal(registry) == "index.docker.io"
}

/// Docker Hub has three names.
fn normal(registry: &str) -> &str {
    match registry {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        other => other,
    }
}

/// The host of a key that is, or may be, a URL.
fn host_of(key: &str, format: AuthFormat) -> &str {
    let bare = key.strip_prefix("http://").or_else(|| key.strip_prefix("https://"));
    match bare.or_else(|| (format == AuthFormat::Legacy).then_some(key)) {
        Some(url) => url.split('/').next().unwrap_or(url),
        None => key,
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
