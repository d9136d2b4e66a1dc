//! The files with logins.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use loment_image::conf::AuthFormat;

use super::LoginError;
use crate::ecosystem::{home, user_config, variable};

/// No file is larger.
const MAX_FILE: u64 = 4 << 20;

/// A file with logins, that may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) format: AuthFormat,
}

/// Where logins are looked for.
#[derive(Debug)]
pub(crate) struct Places {
    /// The one that is written; first when it is read.
    first: Option<Place>,
    others: Vec<Place>,
}

impl Places {
    /// The file that a flag or REGISTRY_AUTH_FILE names, and no other; or else those of the user. Docker's own file is the
    /// one that is written where `docker` says so.
    pub(crate) fn find(flag: Option<&Path>, docker: bool) -> Self {
        let place = |path: PathBuf, format| Place { path, format };
        let chosen = flag.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE").map(PathBuf::from));
        if let Some(path) = chosen {
            return Self { first: Some(place(path, AuthFormat::Containers)), others: Vec::new() };
        }
        let own = place(runtime_directory().join("containers/auth.json"), AuthFormat::Containers);
        let config =
            user_config().map(|config| place(config.join("containers/auth.json"), AuthFormat::Containers));
        let of_docker =
            variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home()?.join(".docker")));
        let of_docker = of_docker.map(|directory| place(directory.join("config.json"), AuthFormat::Docker));
        let legacy = home().map(|home| place(home.join(".dockercfg"), AuthFormat::Legacy));
        let all = [Some(own), config, of_docker.clone(), legacy].into_iter().flatten();
        let first = if docker { of_docker } else { all.clone().next() };
        Self { others: all.filter(|place| Some(place) != first.as_ref()).collect(), first }
    }

    /// Docker's file at that path, and no other.
    pub(crate) fn compatible(path: &Path) -> Self {
        Self { first: Some(Place { path: path.to_owned(), format: AuthFormat::Docker }), others: Vec::new() }
    }

    /// All, the most important one first.
    pub(super) fn read_order(&self) -> impl Iterator<Item = &Place> {
        self.first.iter().chain(&self.others)
    }

    /// The one that is written.
    pub(super) fn written(&self) -> Result<&Place, LoginError> {
        self.first.as_ref().ok_or(LoginError::NoPlace)
    }
}

/// What a login session, or else a boot, forgets.
fn runtime_directory() -> PathBuf {
    let xdg = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    xdg.unwrap_or_else(|| format!("/run/containers/{}", rustix::process::getuid().as_raw()).into())
        .components()
        .collect()
}

impl Place {
    fn doing(&self, operation: &'static str) -> impl Fn(std::io::Error) -> LoginError {
        let path = self.path.clone();
        move |source| LoginError::File { operation, path: path.clone(), source }
    }

    pub(super) fn text(&self) -> Result<String, LoginError> {
        let file = match File::open(&self.path) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(String::new());
            }
            other => other.map_err(self.doing("read"))?,
        };
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(self.doing("read"))?;
        Ok(text)
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Keeps others of us from changing it; makes its directory.
    pub(super) fn lock(&self) -> Result<File, LoginError> {
        let directory = self.directory();
        let doing = |operation| {
            let path = directory.to_owned();
            move |source| LoginError::File { operation, path, source }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(doing("create"))?;
        let directory = File::open(directory).map_err(doing("open"))?;
        directory.lock().map_err(self.doing("lock the directory of"))?;
        Ok(directory)
    }

    /// Puts another text in its place, which only its owner can read.
    pub(super) fn replace(&self, text: &str) -> Result<(), LoginError> {
        // A link stays one.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".loment");
        let new = path.with_file_name(name);
        let _ = std::fs::remove_file(&new);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(self.doing("write"))?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&new);
            self.doing("write")(source)
        })
    }
}
