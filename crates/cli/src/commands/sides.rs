//! Flags of commands that read from one place and write to another: each side has its own, as with skopeo.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};
use loment_engine::Access;
use loment_registry::Credentials;

use super::access::access;
use super::remote::retry;
use crate::ecosystem::Chosen;
use crate::error::Error;

#[derive(Args, Debug, Clone)]
pub(super) struct SidesFlags {
    /// Log in to the source with this user and password
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with_all = ["src_username", "src_no_creds"])]
    pub(super) src_creds: Option<String>,
    /// Log in to the destination with this user and password
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with_all = ["dest_username", "dest_no_creds"])]
    pub(super) dest_creds: Option<String>,
    /// Log in to the source as this user
    #[arg(long, value_name = "USER", requires = "src_password", conflicts_with = "src_no_creds")]
    src_username: Option<String>,
    /// Log in to the destination as this user
    #[arg(long, value_name = "USER", requires = "dest_password", conflicts_with = "dest_no_creds")]
    dest_username: Option<String>,
    /// Log in to the source with this password
    #[arg(long, value_name = "PASSWORD", requires = "src_username")]
    src_password: Option<String>,
    /// Log in to the destination with this password
    #[arg(long, value_name = "PASSWORD", requires = "dest_username")]
    dest_password: Option<String>,
    /// Send this token to the source's registry
    #[arg(long, value_name = "TOKEN")]
    src_registry_token: Option<String>,
    /// Send this token to the destination's registry
    #[arg(long, value_name = "TOKEN")]
    dest_registry_token: Option<String>,
    /// Use no credentials for the source
    #[arg(long)]
    src_no_creds: bool,
    /// Use no credentials for the destination
    #[arg(long)]
    dest_no_creds: bool,
    /// Verify the source's certificates and refuse plain HTTP
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    src_tls_verify: Option<bool>,
    /// Verify the destination's certificates and refuse plain HTTP
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    dest_tls_verify: Option<bool>,
    /// Read the source's *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// Read the destination's *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    dest_cert_dir: Option<PathBuf>,
    /// Read logins to both registries from this file only
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Read logins to the source from this file only
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// Read logins to the destination from this file only
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// Try that often again after a failure
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry_times: u32,
    /// Wait that long before each of them, such as 2s [default: 1s, then twice as long each time]
    #[arg(long, value_name = "TIME", value_parser = crate::units::delay)]
    retry_delay: Option<Duration>,
}

/// One side's.
struct OneSide<'f> {
    creds: Option<&'f str>,
    username: &'f Option<String>,
    password: &'f Option<String>,
    token: &'f Option<String>,
    no_creds: bool,
    tls_verify: Option<bool>,
    cert_dir: &'f Option<PathBuf>,
    authfile: &'f Option<PathBuf>,
}

impl SidesFlags {
    /// Tries something, and again after failures.
    pub(super) fn retry<T>(&self, step: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        retry(self.retry_times, self.retry_delay, step)
    }

    /// How the source is spoken to; `creds` are for both sides.
    pub(super) fn source(&self, creds: Option<&str>, chosen: &Chosen) -> Result<Access, Error> {
        let side = OneSide {
            creds: self.src_creds.as_deref().or(creds),
            username: &self.src_username,
            password: &self.src_password,
            token: &self.src_registry_token,
            no_creds: self.src_no_creds,
            tls_verify: self.src_tls_verify,
            cert_dir: &self.src_cert_dir,
            authfile: &self.src_authfile,
        };
        self.side(&side, chosen)
    }

    /// How the destination is.
    pub(super) fn destination(&self, creds: Option<&str>, chosen: &Chosen) -> Result<Access, Error> {
        let side = OneSide {
            creds: self.dest_creds.as_deref().or(creds),
            username: &self.dest_username,
            password: &self.dest_password,
            token: &self.dest_registry_token,
            no_creds: self.dest_no_creds,
            tls_verify: self.dest_tls_verify,
            cert_dir: &self.dest_cert_dir,
            authfile: &self.dest_authfile,
        };
        self.side(&side, chosen)
    }

    fn side(&self, side: &OneSide<'_>, chosen: &Chosen) -> Result<Access, Error> {
        let authfile = side.authfile.as_ref().or(self.authfile.as_ref()).cloned();
        let chosen = chosen.with_logins(authfile.as_ref());
        let mut access = access(side.tls_verify, side.creds, side.cert_dir.as_ref(), chosen)?;
        if let (Some(username), Some(password)) = (side.username, side.password) {
            access.credentials = Some(Credentials { username: username.clone(), password: password.clone() });
        }
        access.registry_token.clone_from(side.token);
        access.anonymous = side.no_creds;
        Ok(access)
    }
}

/// The socket of a daemon.
pub(super) fn socket(host: Option<&str>) -> Result<Option<&Path>, Error> {
    let Some(host) = host else { return Ok(None) };
    match host.strip_prefix("unix://").or(Some(host)).filter(|path| path.starts_with('/')) {
        Some(path) => Ok(Some(Path::new(path))),
        None => Err(Error::Invalid(format!("invalid daemon host {host:?}: only unix:///PATH is supported"))),
    }
}
