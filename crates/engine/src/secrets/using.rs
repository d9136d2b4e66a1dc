//! Containers that have secrets: copies in `<root>/containers/<id>/secrets/`, by their numbers in the configuration.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use super::SecretData;
use super::create::{sync, write_private};
use crate::config::{Config, SecretPlace, SecretUse};
use crate::container::Container;
use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// The directory with the copies, in a container's, and with what is mounted of them, in its run directory.
const COPIES: &str = "secrets";

impl Engine {
    /// Refuses secrets that a container cannot have as it is asked.
    pub(crate) fn check_secrets(&self, config: &Config, data: &[SecretData]) -> Result<(), Error> {
        let secrets = &config.files.secrets;
        for (n, (SecretUse { name, place, .. }, data)) in secrets.iter().zip(data).enumerate() {
            match place {
                SecretPlace::Mount { uid, gid, mode, .. } => {
                    if *mode > 0o7777 {
                        return Err(invalid("mode of secret", name, "use an octal number such as 0400"));
                    }
                    if outside(config, *uid, *gid).is_none() {
                        let hint = format!("the container has no user {uid} or no group {gid}");
                        return Err(invalid("owner of secret", name, hint));
                    }
                }
                SecretPlace::Env { variable } => {
                    if variable.is_empty() || variable.contains(['=', '\0']) {
                        let hint = format!("{variable:?} is no name of a variable: set another with target=");
                        return Err(invalid("use of secret", name, hint));
                    }
                    if data.0.contains(&0) || std::str::from_utf8(&data.0).is_err() {
                        let hint = "a variable can only be text: mount it as a file, with type=mount";
                        return Err(invalid("use of secret", name, hint));
                    }
                    let is_same = |other: &SecretUse| matches!(&other.place, SecretPlace::Env { variable: v } if v == variable);
                    if secrets[..n].iter().any(is_same) {
                        let hint = format!("the variable {variable} is that of another secret: set target=");
                        return Err(invalid("use of secret", name, hint));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a container its copies.
    pub(crate) fn keep_secrets(&self, config: &Config, data: &[SecretData]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let dir = self.dir(&config.id).join(COPIES);
        // One that is thrown away at its end need not survive a power cut.
        let durable = !config.is_volatile();
        for (n, data) in data.iter().enumerate() {
            let path = dir.join(n.to_string());
            write_private(&path, &data.0, durable).context("write", path.display())?;
        }
        if durable { sync(&dir) } else { Ok(()) }
    }

    /// The copies that a container has.
    pub(crate) fn kept_secrets(&self, config: &Config) -> Result<Vec<SecretData>, Error> {
        let path = |n: usize| self.dir(&config.id).join(COPIES).join(n.to_string());
        let read = |n| std::fs::read(path(n)).map(SecretData).context("read", path(n).display());
        (0..config.files.secrets.len()).map(read).collect()
    }

    /// The variables that are secrets.
    pub(crate) fn secret_variables(&self, config: &Config) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for (n, secret) in config.files.secrets.iter().enumerate() {
            let SecretPlace::Env { variable } = &secret.place else { continue };
            let path = self.dir(&config.id).join(COPIES).join(n.to_string());
            let value = std::fs::read_to_string(&path).context("read", path.display())?;
            all.push(format!("{variable}={value}"));
        }
        Ok(all)
    }

    /// Puts the secrets that are mounted where they are mounted from: into the run directory, which goes with the container's run.
    pub(crate) fn show_secrets(&self, container: &Container) -> Result<(), Error> {
        let config = &container.config;
        let mounted = |secret: &&SecretUse| matches!(secret.place, SecretPlace::Mount { .. });
        let dir = container.run_dir.join(COPIES);
        if config.files.secrets.iter().any(|secret| mounted(&secret)) {
            let mut builder = std::fs::DirBuilder::new();
            builder.mode(0o700).recursive(true).create(&dir).context("create", dir.display())?;
        }
        for (n, secret) in config.files.secrets.iter().enumerate() {
            let SecretPlace::Mount { uid, gid, mode, .. } = &secret.place else { continue };
            let from = self.dir(&config.id).join(COPIES).join(n.to_string());
            let bytes = std::fs::read(&from).context("read", from.display())?;
            let unknown = || io::Error::other(format!("the container has no user {uid} or no group {gid}"));
            let owner = outside(config, *uid, *gid).ok_or_else(unknown);
            let to = dir.join(n.to_string());
            let shown = owner.and_then(|owner| show(&to, &bytes, owner, *mode));
            shown.context("write", to.display())?;
        }
        Ok(())
    }
}

/// Writes a file for a container.
fn show(path: &Path, bytes: &[u8], (uid, gid): (u32, u32), mode: u32) -> io::Result<()> {
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    // Changing the owner takes set-user-ID away: the mode comes last.
    fchown(&file, Some(uid), Some(gid))?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Who a user and a group of the container are on the host.
fn outside(config: &Config, uid: u32, gid: u32) -> Option<(u32, u32)> {
    match &config.namespaces.users {
        Some(users) => users.uid_outside(uid).zip(users.gid_outside(gid)),
        None => Some((uid, gid)),
    }
}

/// The file that is mounted for a secret, by its number.
pub(crate) fn shown(run_dir: &Path, n: usize) -> PathBuf {
    run_dir.join(COPIES).join(n.to_string())
}

/// Where a secret is mounted: below /run/secrets unless it is told otherwise.
pub(crate) fn destination(target: &Path) -> PathBuf {
    let whole = Path::new(SECRETS).join(target);
    whole.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}

/// Where containers find secrets.
pub(crate) const SECRETS: &str = "/run/secrets";
