use std::io;
use std::path::PathBuf;

use loment_runtime::Cause;
use thiserror::Error;

/// Why an operation failed.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("no container with name or ID {name:?} found: no such container")]
    NoContainer { name: String },
    #[error("more than one result for container name or ID {name}: give more of the ID")]
    Ambiguous { name: String },
    // The words are Podman's, but for what to do.
    #[error(
        "{operation}: the container name {name:?} is already in use by {id}. You have to remove that container to be able to reuse \
         that name: that name is already in use{hint}"
    )]
    NameInUse { operation: &'static str, name: String, id: String, hint: &'static str },
    #[error("invalid {what} {value:?}: {hint}")]
    Invalid { what: &'static str, value: String, hint: String },
    #[error("{name}: image not known")]
    NoImage { name: String },
    #[error("{name}: tag not known")]
    NoTag { name: String },
    #[error(
        "{input}: more than one image id starts with this, use more digits; and no image of this name can be had"
    )]
    NeitherNameNorId { input: String, source: Box<Error> },
    #[error(
        "image used by {container}: image is in use by a container: remove the container, or use --force"
    )]
    ImageInUse { container: String },
    #[error("image {image} is in use by a container that is being made: try again when that is there")]
    ImageHeld { image: String },
    #[error("image {image} is mounted: unmount it first, or use --force")]
    ImageMounted { image: String },
    #[error("mount image {image}")]
    Mount { image: String, source: Box<loment_monitor::Error> },
    #[error("cannot {operation} container {id} as it is {status}{hint}")]
    State { operation: &'static str, id: String, status: &'static str, hint: &'static str },
    #[error("{operation} {object}")]
    Io { operation: &'static str, object: String, source: io::Error },
    #[error("read {path}: it is damaged")]
    Damaged { path: String, source: serde_json::Error },
    #[error(
        "{path} is version {found}, this program understands {known}: use the version of the program that wrote it"
    )]
    Version { path: String, found: u32, known: u32 },
    #[error("container {id} cannot be read: use rm --force to remove it")]
    Unreadable { id: String, source: Box<Error> },
    #[error("import {from}")]
    Import { from: String, source: Box<Error> },
    #[error("container {id} needs container {needed}, which is not there any more")]
    DependencyGone { id: String, needed: String },
    #[error(
        "container {id} needs container {needed} to be healthy, which is {state}: see its logs and healthcheck"
    )]
    DependencyNotHealthy { id: String, needed: String, state: &'static str },
    // The words are Podman's.
    #[error(
        "container {id} has dependent containers which must be removed before it: {}: use --depend to remove them, too",
        dependents.join(", ")
    )]
    Dependents { id: String, dependents: Vec<String> },
    #[error("no pod with name or ID {name} found: no such pod")]
    NoPod { name: String },
    #[error("more than one pod has an id that begins with {name}: give more of it")]
    AmbiguousPod { name: String },
    #[error("pod {id} is being changed by another command, which has not finished for {seconds} seconds")]
    PodBusy { id: String, seconds: u64 },
    #[error(
        "pod {name} has no containers that could be started: no containers in pod: make some with --pod {name}"
    )]
    EmptyPod { name: String },
    // The words are Podman's.
    #[error("cannot set user namespace mode when joining pod with infra container: invalid argument")]
    UsersInPod,
    // The words are Podman's.
    #[error(
        "not all containers could be removed from pod {id}: removing pod containers: stop it, or use --force"
    )]
    PodRuns { id: String, containers: Vec<String> },
    #[error("pod {name} ends at this moment, with its infra container {infra}: start it again")]
    PodEnds { name: String, infra: String },
    #[error(
        "init container {id} exited with code {code}: the others of its pod are not started; see its log"
    )]
    InitContainer { id: String, code: i32 },
    #[error(
        "container {id} is the infra container of pod {pod} and cannot be removed without removing the pod"
    )]
    Infra { id: String, pod: String },
    #[error("no volume with name {name:?} found: no such volume")]
    NoVolume { name: String },
    #[error("more than one volume has a name that begins with {name}: give more of it")]
    AmbiguousVolume { name: String },
    #[error("volume with name {name} already exists: volume already exists")]
    VolumeExists { name: String },
    // The words are Podman's.
    #[error("volume {name} is being used by the following container(s): {}: volume is being used", users.join(", "))]
    VolumeInUse { name: String, users: Vec<String> },
    #[error(
        "volume {name} is being changed by another command, which has not finished for {seconds} seconds"
    )]
    VolumeBusy { name: String, seconds: u64 },
    #[error("volume {name} cannot be removed while something is mounted in {}: unmount that first", path.display())]
    VolumeMounted { name: String, path: PathBuf },
    // The words are Podman's.
    #[error("invalid volume option device for driver 'local': faccessat {device}: {}", in_go(why))]
    VolumeDevice { device: String, why: io::Error },
    // The words are Podman's.
    #[error("{}: duplicate mount destination", destination.display())]
    DuplicateMount { destination: PathBuf },
    // The words are Podman's.
    #[error("{problem}")]
    DeviceRule { problem: String },
    // The words are Podman's, but for the last.
    #[error("{path}: not a block device: only those have limits")]
    NotBlock { path: String },
    #[error("mount volume {name}")]
    VolumeMount { name: String, source: Box<loment_monitor::Error> },
    #[error(
        "volume {name} of container {id} is not there any more: make it with volume create, or remove the container"
    )]
    VolumeGone { name: String, id: String },
    // The words are Podman's, but for what to do.
    #[error("no secret with name or id {name:?}: no such secret: make it with secret create")]
    NoSecret { name: String },
    #[error("more than one secret has an id that begins with {name}: secret is ambiguous: give more of it")]
    AmbiguousSecret { name: String },
    #[error("{name}: secret name in use: use --replace to replace that secret, or another name")]
    SecretExists { name: String },
    #[error("secret data must be larger than 0 and less than 512000 bytes")]
    SecretSize,
    #[error(
        "secret {name} is being changed by another command, which has not finished for {seconds} seconds"
    )]
    SecretBusy { name: String, seconds: u64 },
    #[error("{operation} secret {name}")]
    SecretKeeper { operation: &'static str, name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{message}")]
    Start { cause: Cause, message: String },
    #[error(
        "container {id} is being changed by another command, which has not finished for {seconds} seconds: look for one that hangs, \
         or use rm --force"
    )]
    Busy { id: String, seconds: u64 },
    #[error("copy {path}")]
    Copy { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    // The words of these are Podman's, but for what to do.
    #[error("{path:?} could not be found on {place}: no such file or directory{hint}")]
    NoFile { path: String, place: String, hint: String },
    #[error("destination must be a directory when copying a directory")]
    NotADirectory,
    #[error("destination must be a directory when copying from stdin")]
    NoDirectoryForArchive,
    #[error("source must be a (compressed) tar archive when copying from stdin")]
    NoArchive,
    #[error("nothing was imported to volume {volume}: it is no tar archive, compressed or not")]
    NoTar { volume: String },
    #[error("invalid destination: {path:?} must be a directory or a regular file")]
    NoFileOrDirectory { path: String },
    #[error("copy to {place}: error creating {path:?}: {kind}: file exists: use --overwrite to remove it")]
    FileExists { path: String, place: String, kind: String },
    #[error("{word} invalid restart policy")]
    RestartPolicy { word: String },
    #[error("look at the files of container {id}")]
    View { id: String, source: Box<dyn std::error::Error + Send + Sync> },
    // The words are Podman's, but for what to do.
    #[error("healthcheck command is not set: give {flag}, too")]
    NoCheckToChange { flag: &'static str },
    // The words are Podman's.
    #[error("cannot set on-failure action to {action} without a health check")]
    ActionWithoutCheck { action: &'static str },
    #[error("container {id} has no health check: give it one with --health-cmd")]
    NoHealthCheck { id: String },
    #[error("the monitor of container {id} ended unexpectedly")]
    MonitorGone { id: String },
    #[error("{what} is not supported yet{hint}")]
    Unsupported { what: String, hint: &'static str },
    #[error("container {id} did not stop within {seconds} seconds of SIGKILL")]
    Unkillable { id: String, seconds: u32 },
    #[error(
        "process {pid}, which watches container {id}, has not ended within {seconds} seconds of its program"
    )]
    MonitorStays { id: String, pid: i32, seconds: u32 },
    #[error(transparent)]
    Store(#[from] loment_store::Error),
    #[error(transparent)]
    Pull(Box<loment_image::Error>),
    // The words are Podman's.
    #[error("{} errors occurred while pulling:{}", failed.len(), list(failed))]
    Pulls { failed: Vec<(String, Error)> },
    #[error(
        "short-name resolution enforced but cannot prompt without a TTY: use the full name, with its registry"
    )]
    NobodyToAsk,
    #[error(
        "{name} may be in several registries, and credentials are for one: use the full name, which is one of {}",
        candidates.join(", ")
    )]
    WhoseCredentials { name: String, candidates: Vec<String> },
    #[error(transparent)]
    Configuration(Box<dyn std::error::Error + Send + Sync>),
    #[error("find the login for {name}")]
    Login { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Policy(#[from] loment_image::conf::Refused),
    #[error("{problem}: no image is accepted until that is put right")]
    BadPolicy { problem: String },
    #[error(transparent)]
    Registries(#[from] loment_image::conf::RewriteError),
    #[error(transparent)]
    Reference(#[from] loment_image::ReferenceError),
    #[error(transparent)]
    Place(#[from] loment_image::PlaceError),
    #[error(transparent)]
    Registry(#[from] loment_registry::Error),
    #[error(transparent)]
    Log(#[from] loment_logs::Error),
    // The words are Podman's.
    #[error(
        "this container is using the '{driver}' log driver, cannot read logs: this container is not logging output"
    )]
    NoLog { driver: &'static str },
    #[error(
        "this container is using the '{driver}' log driver, and has the streams of whoever starts it: there are none"
    )]
    NoStreams { driver: &'static str },
    #[error(
        "this container is using the '{driver}' log driver, cannot attach: this container is not logging output"
    )]
    CannotAttach { driver: &'static str },
    #[error(
        "invalid argument: sdnotify policy \"healthy\" requires a healthcheck to be set: set one with --health-cmd"
    )]
    NeverHealthy,
    #[error(transparent)]
    Checkpoint(#[from] loment_runtime::checkpoint::Error),
    #[error(transparent)]
    Profile(#[from] loment_seccomp::ProfileError),
    #[error(transparent)]
    Cgroup(#[from] loment_cgroup::Error),
}

impl Error {
    /// The registry that nobody could be reached at, and why.
    pub(crate) fn refused_connection(&self) -> Option<(&str, &io::Error)> {
        let error = match self {
            Self::Registry(error) => error,
            Self::Pull(error) => match error.as_ref() {
                loment_image::Error::Registry(error) => error,
                _ => return None,
            },
            _ => return None,
        };
        match error {
            loment_registry::Error::Unreachable { host, source } => Some((host, source)),
            _ => None,
        }
    }

    /// Whether the same may succeed some time later, without anybody doing anything about it.
    pub fn may_pass(&self) -> bool {
        self.on_the_way(&loment_registry::Error::may_pass, &loment_image::Error::may_pass)
    }

    /// Whether it may soon.
    pub fn may_pass_soon(&self) -> bool {
        self.on_the_way(&loment_registry::Error::may_pass_soon, &loment_image::Error::may_pass_soon)
    }

    fn on_the_way(
        &self,
        registry: &dyn Fn(&loment_registry::Error) -> bool,
        image: &dyn Fn(&loment_image::Error) -> bool,
    ) -> bool {
        match self {
            Self::Registry(error) => registry(error),
            Self::Pull(error) => image(error),
            Self::Pulls { failed } => failed.iter().any(|(_, error)| error.on_the_way(registry, image)),
            _ => false,
        }
    }

    /// Whether a container, a volume or a secret is there, and what it is cannot be read.
    pub fn is_unreadable(&self) -> bool {
        let reads = |operation: &str| operation.starts_with("read");
        match self {
            Self::Damaged { .. } | Self::Version { .. } => true,
            Self::Io { operation, .. } => reads(operation),
            _ => false,
        }
    }
}

/// An error of the kernel in the words of Go's programs.
pub fn in_go(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Each with its causes, on one line.
fn list(failed: &[(String, Error)]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (name, error) in failed {
        let _ = write!(text, " [{name}: {error}");
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        text.push(']');
    }
    text
}

impl From<loment_image::Error> for Error {
    fn from(error: loment_image::Error) -> Self {
        Self::Pull(Box::new(error))
    }
}

/// Names what a call was about.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, object: impl std::fmt::Display) -> Result<T, Error> {
        self.map_err(|e| Error::Io { operation, object: object.to_string(), source: e.into() })
    }
}

pub(crate) fn invalid(what: &'static str, value: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Invalid { what, value: value.into(), hint: hint.into() }
}
