//! What is done with images where they are: `image inspect` of a place, `image list-tags`, `image delete`,
//! `image manifest-digest`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use loment_engine::{Access, RemoveImage, Side, raw_config, raw_manifest};
use loment_image::{Place, PlaceError, Platform};
use loment_registry::Credentials;
use serde_json::{Value, json};

use super::access::AccessFlags;
use super::pull::{platform, short_names};
use super::sides::socket;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{complain, execute, indented, print};

/// Flags of commands about one place.
#[derive(Args, Debug, Clone)]
pub(super) struct PlaceFlags {
    #[command(flatten)]
    access: AccessFlags,
    /// Use no credentials
    #[arg(long, conflicts_with_all = ["creds", "username"])]
    no_creds: bool,
    /// Log in with this password
    #[arg(long, value_name = "PASSWORD", requires = "username")]
    password: Option<String>,
    /// Send this token to the registry
    #[arg(long, value_name = "TOKEN")]
    registry_token: Option<String>,
    /// Try that often again after a failure
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry_times: u32,
    /// Wait that long before each of them, such as 2s [default: 1s, then twice as long each time]
    #[arg(long, value_name = "TIME", value_parser = crate::units::delay)]
    retry_delay: Option<Duration>,
    /// Log in as this user
    #[arg(long, value_name = "USER", requires = "password", conflicts_with = "creds")]
    username: Option<String>,
}

impl PlaceFlags {
    pub(super) fn access(&self, globals: &Globals) -> Result<Access, Error> {
        let mut access = self.access.access(globals)?;
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            access.credentials = Some(Credentials { username: username.clone(), password: password.clone() });
        }
        access.registry_token.clone_from(&self.registry_token);
        access.anonymous = self.no_creds;
        Ok(access)
    }

    /// Tries something, and again after failures.
    pub(super) fn retry<T>(&self, step: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        retry(self.retry_times, self.retry_delay, step)
    }
}

/// Waited before the first try after a failure; then twice as long, and so on.
const DELAY: Duration = Duration::from_secs(1);

/// Tries `step` up to `times` again after what may pass, each time after `fixed`. Nothing or zero, as skopeo's default, means longer and
/// longer waits.
pub(super) fn retry<T>(
    times: u32,
    fixed: Option<Duration>,
    mut step: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let fixed = fixed.filter(|delay| !delay.is_zero());
    let mut delay = fixed.unwrap_or(DELAY);
    for _ in 0..times {
        match step() {
            Err(error) if error.may_pass() => {
                complain(&format!("Trying again in {delay:?}: {}", crate::error::one_line(&error)));
            }
            outcome => return outcome,
        }
        std::thread::sleep(delay);
        delay = fixed.unwrap_or_else(|| delay.saturating_mul(2).min(DELAY * 60));
    }
    step()
}

/// What `image inspect` can do with a place.
#[derive(Args, Debug, Clone)]
pub(super) struct InspectFlags {
    /// Show the configuration of an image in a place such as docker://NAME
    #[arg(long)]
    config: bool,
    /// Reach Docker's daemon there [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "HOST")]
    daemon_host: Option<String>,
    /// Do not ask the registry for tags
    #[arg(short, long)]
    no_tags: bool,
    /// Of a list, the image for this platform, such as linux/arm64/v8; another image in local storage must be for it
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Show the manifest of a place, or with --config the configuration, as it is there
    #[arg(long)]
    raw: bool,
    /// Find the blobs of an OCI layout in this directory
    #[arg(long, value_name = "DIR")]
    shared_blob_dir: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceFlags,
}

impl InspectFlags {
    /// What was asked for.
    pub(super) fn platform(&self) -> Result<Option<Platform>, Error> {
        self.platform.as_deref().map(platform).transpose()
    }

    fn wanted(&self, globals: &Globals) -> Result<Platform, Error> {
        Ok(self.platform()?.unwrap_or_else(|| globals.platform_wanted()))
    }

    /// The place a name means, unless it means something in local storage.
    pub(super) fn place(&self, globals: &Globals, name: &str) -> Result<Option<Place>, Error> {
        let invalid = |e: loment_image::PlaceError| Error::Invalid(e.to_string());
        match Place::parse_if_any(name).map_err(invalid)? {
            Some(place) => Ok(Some(place)),
            None if globals.persona.remote_only || self.raw || self.config => {
                Place::parse(name).map(Some).map_err(invalid)
            }
            None => Ok(None),
        }
    }

    /// Prints what a place has.
    pub(super) fn show(&self, globals: &Globals, place: &Place, template: Option<&str>) -> Result<(), Error> {
        let access = self.place.access(globals)?;
        let daemon = socket(self.daemon_host.as_deref())?;
        let blobs = self.shared_blob_dir.as_deref();
        let side = Side { daemon, blobs, ..Side::new(place, &access) };
        if self.config {
            let platform = self.wanted(globals)?;
            let bytes = self.place.retry(|| Ok(raw_config(side, &platform, &globals.temporary())?))?;
            if self.raw {
                return write(&bytes);
            }
            let config = parsed(&bytes, "configuration")?;
            let text = template.map_or_else(|| Ok(config.to_string()), |t| execute(t, &config))?;
            return print(&(text + "\n"));
        }
        let top = self.place.retry(|| Ok(raw_manifest(side, None, &globals.temporary())?))?;
        if self.raw {
            return write(&top.bytes);
        }
        let document = self.document(globals, side, top.digest.as_ref())?;
        match template {
            None | Some("json") => print(&indented(&document)),
            Some(template) => print(&(execute(template, &document)? + "\n")),
        }
    }

    /// skopeo's document.
    fn document(&self, globals: &Globals, side: Side<'_>, digest: &str) -> Result<Value, Error> {
        let platform = self.wanted(globals)?;
        let manifest = raw_manifest(side, Some(&platform), &globals.temporary())?;
        let manifest = parsed(&manifest.bytes, "manifest")?;
        let config = parsed(&raw_config(side, &platform, &globals.temporary())?, "configuration")?;
        let mut document = json!({
            "Digest": digest,
            "RepoTags": [],
            "Created": config["created"],
            "DockerVersion": config["docker_version"].as_str().unwrap_or_default(),
            "Labels": config["config"]["Labels"],
            "Architecture": config["architecture"],
            "Os": config["os"],
            "Env": config["config"]["Env"],
        });
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        document["Layers"] = layers.iter().map(|layer| layer["digest"].clone()).collect();
        document["LayersData"] = layers
            .iter()
            .map(|layer| {
                json!({
                    "MIMEType": layer["mediaType"], "Digest": layer["digest"], "Size": layer["size"],
                    "Annotations": layer["annotations"],
                })
            })
            .collect();
        if let Place::Registry(reference) = side.place {
            document["Name"] = reference.name().into();
            if !self.no_tags {
                // Some registries do not tell: the image can be shown all the same.
                document["RepoTags"] = loment_engine::tags(reference, side.access).unwrap_or_default().into();
            }
        }
        Ok(document)
    }
}

fn parsed(bytes: &[u8], what: &str) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Invalid(format!("{what}: {e}")))
}

/// Bytes as they are.
fn write(bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 0 }),
        other => other.doing(|| "write to standard output".into()),
    }
}

/// List the tags of a repository, or of the images in an archive
#[derive(Parser, Debug)]
pub(super) struct ListTags {
    #[command(flatten)]
    place: PlaceFlags,
    /// The repository, docker://NAME, or docker-archive:FILE
    #[arg(value_name = "REPOSITORY")]
    repository: String,
}

pub(super) fn run_list_tags(globals: &Globals, flags: &ListTags) -> Result<u8, Error> {
    let reference = match Place::parse(&flags.repository) {
        Ok(Place::Registry(reference)) => reference,
        Ok(Place::DockerArchive { file, .. }) => {
            let tags = loment_engine::names_in_archive(&file, &globals.temporary())?;
            return print(&indented(&json!({ "Tags": tags }))).map(|()| 0);
        }
        // The words are skopeo's.
        Ok(other) => {
            return Err(Error::Invalid(format!(
                "Unsupported transport '{}' for tag listing. Only supported: docker, docker-archive",
                other.transport()
            )));
        }
        Err(PlaceError::NoTransport(name)) => {
            return Err(Error::Invalid(format!("Invalid {name:?}: does not specify a transport")));
        }
        Err(error) => return Err(Error::Invalid(error.to_string())),
    };
    // What was typed: a reference without a tag means one as well.
    let text = flags.repository.rsplit('/').next().unwrap_or_default();
    if text.contains([':', '@']) {
        return Err(Error::Invalid(format!(
            "invalid repository {:?}: leave out the tag and the digest",
            flags.repository
        )));
    }
    let access = flags.place.access(globals)?;
    let tags = flags.place.retry(|| Ok(loment_engine::tags(&reference, &access)?))?;
    print(&indented(&json!({"Repository": reference.name(), "Tags": tags})))?;
    Ok(0)
}

/// Delete an image where it is: in a registry or in local storage with all of its names, in an OCI layout one of them
#[derive(Parser, Debug)]
pub(super) struct Delete {
    /// Accepted for compatibility: Docker's daemon is not asked to delete anything
    #[arg(long, value_name = "HOST")]
    daemon_host: Option<String>,
    #[command(flatten)]
    place: PlaceFlags,
    /// The blobs of the OCI layout are in this directory, which others share: they stay
    #[arg(long, value_name = "DIR")]
    shared_blob_dir: Option<PathBuf>,
    /// The image: docker://NAME, oci:DIR[:NAME] or containers-storage:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(super) fn run_delete(globals: &Globals, flags: &Delete) -> Result<u8, Error> {
    socket(flags.daemon_host.as_deref())?;
    let place = Place::parse(&flags.image).map_err(|e| Error::Invalid(e.to_string()))?;
    match &place {
        Place::Registry(reference) => {
            let access = flags.place.access(globals)?;
            flags.place.retry(|| Ok(loment_engine::delete(reference, &access)?))?;
        }
        Place::Oci { dir, entry } => {
            loment_engine::delete_from_layout(dir, entry.as_deref(), flags.shared_blob_dir.is_some())?;
        }
        Place::Store(name) => {
            let (engine, short_names) = (globals.engine()?, short_names(globals)?);
            let how = RemoveImage { all_names: true, ..RemoveImage::default() };
            // By its id, which all names go with.
            let id = match engine.find_list(name, &short_names) {
                Ok(list) => list.id().to_owned(),
                Err(_) => engine.find_image(name, &short_names)?.0.hex().to_owned(),
            };
            engine.remove_image(&id, &short_names, how)?;
            engine.sweep()?;
        }
        // The words are skopeo's.
        other => {
            let transport = other.transport();
            return Err(Error::Invalid(format!(
                "Deleting images not implemented for {transport}: images: {other} stays"
            )));
        }
    }
    Ok(0)
}

/// Compute the digest of a manifest in a file
#[derive(Parser, Debug)]
pub(super) struct ManifestDigest {
    /// The manifest
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run_manifest_digest(_globals: &Globals, flags: &ManifestDigest) -> Result<u8, Error> {
    let bytes = std::fs::read(&flags.file).doing(|| format!("read {}", flags.file.display()))?;
    // Of the first format the digest is that of the part that is signed.
    let is_first =
        serde_json::from_slice::<Value>(&bytes).is_ok_and(|document| document["schemaVersion"] == 1);
    let bytes = match is_first {
        true => loment_registry::signed_part(&bytes)
            .ok_or_else(|| Error::Invalid(format!("{}: its signature is none", flags.file.display())))?,
        false => bytes,
    };
    print(&format!("{}\n", loment_store::sha256(&bytes)))?;
    Ok(0)
}
