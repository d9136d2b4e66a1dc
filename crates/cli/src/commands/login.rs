//! `login` and `logout`

use std::io::{BufRead, Read};
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use loment_engine::Access;
use loment_registry::Credentials;

use super::access::access;
use crate::ecosystem;
use crate::error::{Doing, Error, one_line};
use crate::globals::Globals;
use crate::logins::{Keyring, Places, checked};
use crate::output::print;
use crate::secret_programs::Programs;
use crate::terminal::read_password;

/// Log in to a registry
///
/// The registry is asked first; user and password are then saved for other commands. A namespace or repository of a registry can
/// have a login of its own.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Save the login in this file [default: $REGISTRY_AUTH_FILE, or containers/auth.json in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Read *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Save the login in this file, in the form of Docker's config.json
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    compat_auth_file: Option<PathBuf>,
    /// Print the user that is logged in, and do nothing
    #[arg(long)]
    get_login: bool,
    /// Log in with this password
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Log in with the password that is this secret, as its name unless there is another user
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Verify certificates and refuse plain HTTP [default: true, unless registries.conf says insecure]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    tls_verify: Option<bool>,
    /// Log in as this user
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Print where the login is saved
    #[arg(short, long)]
    verbose: bool,
    /// The registry [default: the first that short names are looked for in]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

/// Log out of a registry
#[derive(Parser, Debug)]
pub(super) struct LogoutFlags {
    /// Remove the logins of all registries
    #[arg(short, long)]
    all: bool,
    /// Remove the login from this file [default: $REGISTRY_AUTH_FILE, or containers/auth.json in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Remove the login from this file in the form of Docker's config.json
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    compat_auth_file: Option<PathBuf>,
    /// Accepted for compatibility: no registry is asked
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    tls_verify: Option<bool>,
    /// The registry [default: the first that short names are looked for in]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

/// Where logins are, and how registries are spoken to without one.
struct Session {
    keyring: Keyring,
    access: Access,
    /// A registry, or a repository of one.
    key: String,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let places = match &flags.compat_auth_file {
        Some(path) => Places::compatible(path),
        None => Places::find(flags.authfile.as_deref(), globals.persona.docker_documents),
    };
    let mut session = Session {
        keyring: Keyring::new(&ecosystem::registries(globals.chosen.registries_conf.as_deref())?, places),
        access: access(flags.tls_verify, None, flags.cert_dir.as_ref(), globals.chosen.clone())?,
        key: key(globals, flags.registry.as_deref())?,
    };
    let known = session.keyring.get(&session.key).map_err(failed)?.unwrap_or_default();
    let user = known.credentials.as_ref().map(|c| c.username.clone());
    let key = session.key.clone();
    if flags.get_login {
        let user = user.ok_or_else(|| Error::Invalid(format!("not logged into {key}")))?;
        return print(&format!("{user}\n")).map(|()| 0);
    }
    if known.identity_token.is_some() {
        return Err(Error::Invalid("currently logged in, auth file contains an Identity token".into()));
    }
    let password = given_password(globals, flags)?;
    let username = flags.username.as_ref().or(flags.secret.as_ref());
    if let (None, None, Some(credentials)) = (username, &password, known.credentials) {
        print(&format!("Authenticating with existing credentials for {key}\n"))?;
        if session.try_login(credentials).is_ok() {
            print(&format!("Existing credentials are valid. Already logged in to {key}\n"))?;
            return Ok(0);
        }
        print("Existing credentials are invalid, please enter valid username and password\n")?;
    }
    let credentials = ask(username.cloned(), password, user.as_deref())?;
    session.try_login(credentials.clone())?;
    let saved = session.keyring.set(&key, &credentials).map_err(failed)?;
    if flags.verbose {
        print(&format!("Used:  {}\n", saved.place))?;
    }
    print("Login Succeeded!\n").map(|()| 0)
}

pub(super) fn run_logout(globals: &Globals, flags: &LogoutFlags) -> Result<u8, Error> {
    for path in flags.authfile.iter().chain(&flags.compat_auth_file) {
        checked(path)?;
    }
    let places = match &flags.compat_auth_file {
        Some(path) => Places::compatible(path),
        None => Places::find(flags.authfile.as_deref(), globals.persona.docker_documents),
    };
    let keyring = Keyring::new(&ecosystem::registries(globals.chosen.registries_conf.as_deref())?, places);
    if flags.all {
        if flags.registry.is_some() {
            return Err(Error::Invalid("--all takes no arguments".into()));
        }
        keyring.remove_all().map_err(failed)?;
        return print("Removed login credentials for all registries\n").map(|()| 0);
    }
    let key = key(globals, flags.registry.as_deref())?;
    if keyring.remove(&key).map_err(failed)? {
        return print(&format!("Removed login credentials for {key}\n")).map(|()| 0);
    }
    match keyring.get(&key).map_err(failed)? {
        Some(login) if login.credentials.is_some() => print(&format!(
            "Not logged into {key} with current tool. Existing credentials were established via docker login. Please use docker logout instead.\n"
        ))
        .map(|()| 0),
        _ => Err(Error::Invalid(format!("not logged into {key}"))),
    }
}

fn failed(error: crate::logins::LoginError) -> Error {
    Error::Invalid(one_line(&error))
}

impl Session {
    /// Asks the registry. The words of a refusal are Podman's.
    fn try_login(&mut self, credentials: Credentials) -> Result<(), Error> {
        self.access.credentials = Some(credentials);
        let key = &self.key;
        self.access.ping(key).map_err(|error| match error {
            loment_engine::Error::Registry(loment_registry::Error::Unauthorized { .. }) => {
                Error::Invalid(format!("logging into {key:?}: invalid username/password"))
            }
            error => Error::Invalid(format!("authenticating creds for {key:?}: {}", one_line(&error))),
        })
    }
}

/// The registry, or the repository of one, that is meant.
fn key(globals: &Globals, given: Option<&str>) -> Result<String, Error> {
    let Some(given) = given else {
        if globals.persona.docker_hub {
            return Ok("docker.io".to_owned());
        }
        let registries = ecosystem::registries(globals.chosen.registries_conf.as_deref())?;
        return registries.search().first().cloned().ok_or_else(|| {
            Error::Invalid("no registries found in registries.conf, a registry must be provided".into())
        });
    };
    // Of an URL the host is meant.
    let url = given.strip_prefix("https://").or_else(|| given.strip_prefix("http://"));
    let name = url.map_or(given, |url| url.split('/').next().unwrap_or(url));
    let (host, path) = name.split_once('/').unwrap_or((name, "x"));
    let is_name =
        |reference: &loment_image::Reference| reference.tag().is_none() && reference.digest().is_none();
    // A host without dot or port is one, too: what stands before the slash is what is meant.
    let valid = format!("{host}/{path}").parse().is_ok_and(|reference| is_name(&reference));
    match valid && !host.is_empty() {
        true => Ok(name.to_owned()),
        false => Err(Error::Invalid(format!("invalid registry {given:?}: use HOST[:PORT][/NAMESPACE]"))),
    }
}

/// The password that flags name.
fn given_password(globals: &Globals, flags: &Flags) -> Result<Option<String>, Error> {
    if let Some(name) = &flags.secret {
        if flags.password.is_some() || flags.password_stdin {
            let both = "--secret cannot be used with --password or --password-stdin";
            return Err(Error::Invalid(both.into()));
        }
        let (_, data) = globals.engine()?.secret_with_data(name, &Programs)?;
        let text = String::from_utf8(data.0);
        let text =
            text.map_err(|_| Error::Invalid(format!("secret {name} is no password: it is no text")))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !flags.password_stdin {
        return Ok(flags.password.clone());
    }
    if flags.password.is_some() {
        return Err(Error::Invalid("Can't specify both --password-stdin and --password".into()));
    }
    if flags.username.is_none() {
        return Err(Error::Invalid("Must provide --username with --password-stdin".into()));
    }
    let mut password = String::new();
    let input = std::io::stdin().lock().take(1 << 20).read_to_string(&mut password);
    input.doing(|| "read the password from standard input".into())?;
    Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks for what is missing.
fn ask(user: Option<String>, password: Option<String>, known: Option<&str>) -> Result<Credentials, Error> {
    let username = match user {
        Some(user) => user,
        None => {
            print(&known.map_or("Username: ".to_owned(), |known| format!("Username ({known}): ")))?;
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).doing(|| "read the user name".into())?;
            let user = line.trim();
            if user.is_empty() { known.unwrap_or_default().to_owned() } else { user.to_owned() }
        }
    };
    if username.is_empty() {
        return Err(Error::Invalid(
            "getting username and password: no user name is given: use --username".into(),
        ));
    }
    let password = match password {
        Some(password) => password,
        None => {
            let password = read_password("Password: ").doing(|| {
                "getting username and password: reading password: use --password-stdin where there is no terminal".into()
            })?;
            print("\n")?;
            password
        }
    };
    Ok(Credentials { username, password })
}
