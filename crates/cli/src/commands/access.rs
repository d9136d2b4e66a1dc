//! Flags that say how a registry is spoken to.

use std::path::PathBuf;

use clap::Args;
use loment_engine::Access;
use loment_registry::Credentials;

use crate::error::Error;

/// Where certificates are kept for everybody (containers-certs.d(5)).
const CERTS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

#[derive(Args, Debug, Clone)]
pub(super) struct AccessFlags {
    /// Verify certificates and refuse plain HTTP
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    tls_verify: bool,
    /// Log in to the registry with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
    /// Read certificates from HOST:PORT/*.crt in this directory
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
}

impl AccessFlags {
    pub(super) fn access(&self) -> Result<Access, Error> {
        access(self.tls_verify, self.creds.as_deref(), self.cert_dir.as_ref())
    }
}

/// What the engine needs to know.
pub(super) fn access(
    tls_verify: bool,
    creds: Option<&str>,
    cert_dir: Option<&PathBuf>,
) -> Result<Access, Error> {
    let mut certs_dir: Vec<PathBuf> = cert_dir.cloned().into_iter().collect();
    certs_dir.extend(CERTS.map(PathBuf::from));
    Ok(Access { insecure: !tls_verify, credentials: creds.map(credentials).transpose()?, certs_dir })
}

fn credentials(text: &str) -> Result<Credentials, Error> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            Ok(Credentials { username: username.to_owned(), password: password.to_owned() })
        }
        _ => Err(Error::Invalid("invalid value for --creds: use USER:PASSWORD".into())),
    }
}
