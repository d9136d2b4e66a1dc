//! Flags that say how a registry is spoken to.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use loment_engine::Access;
use loment_registry::Credentials;

use crate::ecosystem::{self, Chosen};
use crate::error::Error;
use crate::globals::Globals;
use crate::logins::checked;

#[derive(Args, Debug, Clone)]
pub(super) struct AccessFlags {
    /// Verify certificates and refuse plain HTTP [default: true, unless registries.conf says insecure]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    tls_verify: Option<bool>,
    /// Log in to the registry with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
    /// Read *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Read logins from this file only [default: $REGISTRY_AUTH_FILE, or those that login writes]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Read the policy from this file
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
}

impl AccessFlags {
    pub(super) fn access(&self, globals: &Globals) -> Result<Access, Error> {
        let chosen = globals.chosen.or_policy(self.signature_policy.as_ref());
        let chosen = chosen.with_logins(self.authfile.as_ref());
        access(self.tls_verify, self.creds.as_deref(), self.cert_dir.as_ref(), chosen)
    }
}

/// What the engine needs to know.
pub(super) fn access(
    tls_verify: Option<bool>,
    creds: Option<&str>,
    cert_dir: Option<&PathBuf>,
    chosen: Chosen,
) -> Result<Access, Error> {
    chosen.authfile.as_deref().map(checked).transpose()?;
    Ok(Access {
        tls_verify: tls_verify.or(chosen.tls_verify),
        credentials: creds.map(credentials).transpose()?,
        cert_dir: cert_dir.cloned(),
        certs_dir: ecosystem::certificates(),
        registry_token: None,
        anonymous: false,
        ecosystem: ecosystem::ecosystem(chosen),
    })
}

fn credentials(text: &str) -> Result<Credentials, Error> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            Ok(Credentials { username: username.to_owned(), password: password.to_owned() })
        }
        _ => Err(Error::Invalid("invalid value for --creds: use USER:PASSWORD".into())),
    }
}
