//! Secrets that other programs keep: GnuPG in a directory of pass(1), or commands of the user's.
//!
//! They are run as Podman runs them, with this program's environment: for the driver `shell`, `/bin/sh -c COMMAND` with `SECRET_ID`, the
//! secret on standard input of `store` and standard output of `lookup`; for `pass`, `gpg` with files that pass itself can show.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_engine::{LoadError, SecretData, SecretKeeper, StoredSecret};
use loment_sys::wait::wait_exit;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::ecosystem::home;
use crate::programs::{find, start_with};

/// One byte more than a secret may have.
const TOO_MANY: u64 = 512_000;
const SHELL: &str = "/bin/sh";
/// What the driver `shell` must be told,
const COMMANDS: [&str; 3] = ["delete", "lookup", "store"];
/// and what Podman wants to be told, too, and never runs.
const KNOWN: [&str; 4] = ["delete", "list", "lookup", "store"];
/// The file of a store of pass that says for whom secrets are encrypted.
const RECIPIENTS: &str = ".gpg-id";

/// Who runs them.
#[derive(Debug)]
pub(crate) struct Programs;

type Options = BTreeMap<String, String>;

impl SecretKeeper for Programs {
    fn check(&self, driver: &str, options: &Options) -> Result<(), LoadError> {
        let unknown = |known: &[&str]| {
            let other = options.keys().find(|key| !known.contains(&key.as_str()));
            other.map_or(Ok(()), |key| {
                Err(format!("invalid {driver} driver option {key:?}: use {}", known.join(", ")))
            })
        };
        match driver {
            "pass" => {
                unknown(&["key", "root"])?;
                let store = Store::of(options)?;
                find("gpg")
                    .map(|_| store)
                    .ok_or("gpg is not installed: it encrypts what the driver pass keeps")?;
            }
            "shell" => {
                unknown(&KNOWN)?;
                if let Some(key) = COMMANDS.iter().find(|key| options.get(**key).is_none_or(String::is_empty))
                {
                    let all = COMMANDS.join(", ");
                    return Err(format!(
                        "the shell driver needs its option {key}: set {all} with --driver-opts"
                    )
                    .into());
                }
            }
            _ => return Err(format!("invalid driver {driver:?}: use file, pass or shell").into()),
        }
        Ok(())
    }

    fn store(&self, secret: &StoredSecret, data: &SecretData) -> Result<(), LoadError> {
        match secret.driver.as_str() {
            "pass" => {
                let store = Store::of(&secret.options)?;
                let file = store.file(secret);
                let mut words = vec!["gpg", "--batch", "--quiet", "--no-encrypt-to", "--encrypt"];
                words.extend(store.recipients.iter().flat_map(|recipient| ["--recipient", recipient]));
                words.extend(["--output", text(&file)?]);
                call(&program("gpg")?, &words, &[], Some(data)).map(drop)
            }
            _ => shell(secret, "store", Some(data)).map(drop),
        }
    }

    fn load(&self, secret: &StoredSecret) -> Result<SecretData, LoadError> {
        match secret.driver.as_str() {
            "pass" => {
                let file = Store::of(&secret.options)?.file(secret);
                call(&program("gpg")?, &["gpg", "--batch", "--quiet", "--decrypt", text(&file)?], &[], None)
            }
            _ => shell(secret, "lookup", None),
        }
    }

    fn erase(&self, secret: &StoredSecret) -> Result<(), LoadError> {
        match secret.driver.as_str() {
            "pass" => {
                let file = Store::of(&secret.options)?.file(secret);
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        Err(format!("{}: {e}", file.display()).into())
                    }
                    _ => Ok(()),
                }
            }
            _ => shell(secret, "delete", None).map(drop),
        }
    }
}

/// A directory of pass.
struct Store {
    root: PathBuf,
    /// For whom it is encrypted.
    recipients: Vec<String>,
}

impl Store {
    /// The one that options name, or the user's.
    fn of(options: &Options) -> Result<Self, LoadError> {
        let root = match options.get("root") {
            Some(root) => PathBuf::from(root),
            None => {
                Self::of_user().ok_or("there is no store of pass: make one with pass init, or set root")?
            }
        };
        if !root.is_absolute() {
            return Err(format!("the store of pass {} is no absolute path", root.display()).into());
        }
        let recipients = match options.get("key") {
            Some(key) => vec![key.clone()],
            None => Self::recipients_of(&root),
        };
        if recipients.is_empty() {
            let root = root.display();
            return Err(format!(
                "{root} does not say for whom it is encrypted: make it with pass init, or set key"
            )
            .into());
        }
        Ok(Self { root, recipients })
    }

    fn of_user() -> Option<PathBuf> {
        let home = home()?;
        let all = [".password-store", ".local/share/gopass/stores/root"];
        all.iter().map(|dir| home.join(dir)).find(|dir| dir.is_dir())
    }

    /// What the nearest file says: a recipient in each line.
    fn recipients_of(root: &Path) -> Vec<String> {
        let found = root.ancestors().find_map(|dir| std::fs::read_to_string(dir.join(RECIPIENTS)).ok());
        let lines = found.unwrap_or_default();
        let lines = lines.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn file(&self, secret: &StoredSecret) -> PathBuf {
        self.root.join(format!("{}.gpg", secret.id))
    }
}

fn text(path: &Path) -> Result<&str, LoadError> {
    path.to_str().ok_or_else(|| format!("{} is no UTF-8", path.display()).into())
}

fn program(name: &str) -> Result<PathBuf, LoadError> {
    find(name).ok_or_else(|| format!("{name} is not installed").into())
}

/// Runs one of the user's commands.
fn shell(secret: &StoredSecret, action: &str, input: Option<&SecretData>) -> Result<SecretData, LoadError> {
    let command = secret.options.get(action).ok_or_else(|| format!("its option {action} is missing"))?;
    let words = [SHELL, "-c", command];
    call(Path::new(SHELL), &words, &[("SECRET_ID", &secret.id)], input)
        .map_err(|error| format!("{action} ({command}): {error}").into())
}

/// Runs a program: with something on its standard input, or for what it writes to standard output.
fn call(
    file: &Path,
    words: &[&str],
    variables: &[(&str, &str)],
    input: Option<&SecretData>,
) -> Result<SecretData, LoadError> {
    let mut output = Vec::new();
    let child = match input {
        Some(data) => {
            let (theirs, to) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
            let stderr = io::stderr();
            // What it says is for people.
            let child = start_with(file, words, variables, [theirs.as_fd(), stderr.as_fd(), stderr.as_fd()])?;
            drop(theirs);
            // One that does not read its input has its reasons, and its status says them.
            let _ = File::from(to).write_all(&data.0);
            child
        }
        None => {
            let null = OwnedFd::from(File::open("/dev/null")?);
            let (from, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
            let child =
                start_with(file, words, variables, [null.as_fd(), theirs.as_fd(), io::stderr().as_fd()])?;
            drop(theirs);
            // What is behind it is too much, and refused as such.
            File::from(from).take(TOO_MANY).read_to_end(&mut output)?;
            child
        }
    };
    match wait_exit(&child)?.status() {
        0 => Ok(SecretData(output)),
        status => Err(format!("it ended with status {status}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_by_name() {
        let options = |pairs: &[(&str, &str)]| -> Options {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = [("delete", "d"), ("lookup", "k"), ("store", "s")];
        assert!(Programs.check("shell", &options(&all)).is_ok());
        assert!(Programs.check("shell", &options(&all[1..])).unwrap_err().to_string().contains("delete"));
        let more = [&all[..], &[("list", "l"), ("colour", "red")]].concat();
        assert!(Programs.check("shell", &options(&more)).unwrap_err().to_string().contains("colour"));
        assert!(Programs.check("vault", &options(&[])).unwrap_err().to_string().contains("vault"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join(RECIPIENTS), "one@example # first\n\ntwo\n").unwrap();
        assert_eq!(Store::recipients_of(&dir.path().join("below")), ["one@example", "two"]);
        let root = dir.path().to_str().unwrap();
        let chosen = Store::of(&options(&[("root", root), ("key", "three")])).unwrap();
        assert_eq!(chosen.recipients, ["three"]);
    }
}
