//! Flags: what a container sees of files.

use std::path::Path;

use clap::Args;
use loment_engine::config::{ImageFiles, Relabel, SecretUse, Volume};
use loment_engine::{Create, Engine, ImageVolumes, NewVolume, VolumesFrom};

use crate::commands::values::mount::{self as values, Mount};
use crate::commands::values::{list, secret, size};
use crate::containers_conf::{CONTAINERS, ContainersConf, ENGINE};
use crate::error::Error;
use crate::globals::Globals;
use crate::mounts_conf;
use crate::persona::Persona;
use crate::secret_programs::Programs;
use crate::storage_options;

#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
pub(super) struct FilesFlags {
    /// Take IMAGE as a directory to run over; with :O behind it, throw changes away
    #[arg(long)]
    pub(super) rootfs: bool,
    /// Make the root file system read-only
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    read_only: Option<bool>,
    /// Leave /run, /tmp, /var/tmp, /dev and /dev/shm writable in a read-only container [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    read_only_tmpfs: Option<bool>,
    /// Mount a volume, or a file or directory of the host: options such as ro, U, O, z, idmap, nocopy
    #[arg(short, long, value_name = "[SOURCE:]DESTINATION[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount something: of type bind, devpts, glob, image, ramfs, tmpfs or volume
    #[arg(long, value_name = "type=TYPE,KEY=VALUE...")]
    mount: Vec<String>,
    /// Mount what another container has mounted, with ro or rw instead of what it is there, and z
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    volumes_from: Vec<String>,
    /// Choose the driver of volumes that are made: local
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
    /// Choose what becomes of the volumes of the image: anonymous (or bind), tmpfs or ignore [default: anonymous]
    #[arg(long, value_name = "WAY")]
    image_volume: Option<String>,
    /// Let the container know a secret: as a file below /run/secrets, or type=env; target, uid, gid and mode
    #[arg(long, value_name = "NAME[,KEY=VALUE...]")]
    secret: Vec<String>,
    /// Mount the files made for the container, such as /etc/hosts, in these directories, too
    #[arg(long, value_name = "DIR")]
    chrootdirs: Vec<String>,
    /// Mount a temporary file system
    #[arg(long, value_name = "DESTINATION[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Set the size of /dev/shm, in bytes or with a unit: 64m, 2g
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// Limit what the container's changes may occupy: size=SIZE, in bytes or with a unit, or inodes=NUMBER; 0 is no limit
    #[arg(long, value_name = "NAME=VALUE")]
    storage_opt: Vec<String>,
}

impl FilesFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let files = &mut asked.config.files;
        files.read_only = conf.switched(self.read_only, "read_only", false)?;
        files.bare_read_only = self.read_only_tmpfs == Some(false);
        for text in &self.volume {
            let volume = values::volume(text, globals.persona)?;
            // What is said twice is said, but to Docker.
            if globals.persona.docker_documents || !asked.config.files.volumes.contains(&volume) {
                self.add(volume, NewVolume::default(), asked);
            }
        }
        for volume in conf.list_as(CONTAINERS, "volumes", |text| values::volume(text, globals.persona))? {
            if !self.is_taken(&volume.destination) {
                self.add(volume, NewVolume::default(), asked);
            }
        }
        for mount in self.mounts(conf)? {
            match mount {
                Mount::Volume(volume, new) => self.add(volume, new, asked),
                Mount::Tmpfs(destination, options) => asked.config.files.tmpfs.push((destination, options)),
                Mount::FileSystem(one) => asked.config.files.filesystems.push(one),
                // See `images`.
                Mount::Image(..) => {}
            }
        }
        let files = &mut asked.config.files;
        let before = files.tmpfs.len();
        for text in &self.tmpfs {
            let tmpfs = values::tmpfs(text)?;
            if globals.persona.docker_documents || !files.tmpfs[before..].contains(&tmpfs) {
                files.tmpfs.push(tmpfs);
            }
        }
        files.size = storage_options::of_container(&self.storage_opt)?;
        asked.choices.volumes.image = match self.image_volume.as_deref() {
            Some(way) => image_volumes(way)?,
            None => conf.text_as(ENGINE, "image_volume_mode", image_volumes)?.unwrap_or_default(),
        };
        asked.config.files.chroot_dirs = list(&self.chrootdirs).into_iter().map(Into::into).collect();
        let from = self.volumes_from.iter().map(|text| volumes_from(text));
        asked.choices.volumes.from = from.collect::<Result<_, _>>()?;
        asked.config.files.given = mounts_conf::given(globals.mounts_file.as_deref())?;
        let of_all = storage_options::of_all(globals)?;
        asked.choices.size = of_all.size;
        asked.config.files.restrictions = of_all.restrictions;
        let shm = match &self.shm_size {
            Some(text) => Some(size("shm-size", text)?),
            None => conf.text_as(CONTAINERS, "shm_size", |text| size("shm-size", text))?,
        };
        asked.choices.shm_size = shm.map(|n| n as u64);
        if conf.switch(CONTAINERS, "prepare_volume_on_create")? == Some(true) {
            return Err(Error::Invalid(
                "prepare_volume_on_create of containers.conf is not supported: volumes are filled when a container first starts; leave it out"
                    .into(),
            ));
        }
        Ok(())
    }

    /// What is mounted by `--mount`, and then what containers.conf says of other places.
    fn mounts(&self, conf: &ContainersConf) -> Result<Vec<Mount>, Error> {
        let mut all = Vec::new();
        for text in &self.mount {
            all.extend(values::mount(text)?);
        }
        for mount in conf.list_as(CONTAINERS, "mounts", values::mount)?.into_iter().flatten() {
            if !self.is_taken(mount.destination()) {
                all.push(mount);
            }
        }
        Ok(all)
    }

    /// Whether a flag mounts something there.
    fn is_taken(&self, destination: &Path) -> bool {
        // What cannot be read is refused anyway.
        let volumes = self.volume.iter().filter_map(|text| values::volume(text, Persona::of("")).ok());
        let mounts = self.mount.iter().filter_map(|text| values::mount(text).ok()).flatten();
        let tmpfs = self.tmpfs.iter().filter_map(|text| values::tmpfs(text).ok());
        let taken = volumes.map(|volume| volume.destination);
        let taken = taken.chain(mounts.map(|mount| mount.destination().to_owned()));
        taken.chain(tmpfs.map(|(path, _)| path)).any(|path| path == destination)
    }

    fn add(&self, volume: Volume, new: NewVolume, asked: &mut Create) {
        if volume.volume.is_some() {
            let driver = match (new.driver.as_str(), &self.volume_driver) {
                ("", Some(driver)) => driver.clone(),
                (driver, _) => driver.to_owned(),
            };
            let new = NewVolume { driver, ..new };
            asked.choices.volumes.new.insert(volume.destination.clone(), new);
        }
        asked.config.files.volumes.push(volume);
    }

    /// Adds the secrets.
    pub(super) fn secrets(&self, engine: &Engine, asked: &mut Create) -> Result<(), Error> {
        for text in &self.secret {
            let (name, place) = secret::parse(text)?;
            let (stored, data) = engine.secret_with_data(&name, &Programs)?;
            let place = secret::complete(place, &stored.name);
            asked.config.files.secrets.push(SecretUse { name: stored.name, id: stored.id, place });
            asked.choices.secrets.push(data);
        }
        Ok(())
    }

    /// Adds the images that are mounted, which `find` finds.
    pub(super) fn images(
        &self,
        conf: &ContainersConf,
        asked: &mut Create,
        mut find: impl FnMut(&str) -> Result<ImageFiles, Error>,
    ) -> Result<(), Error> {
        for mount in self.mounts(conf)? {
            if let Mount::Image(volume, name) = mount {
                let image = Some(find(&name)?);
                asked.config.files.volumes.push(Volume { image, ..volume });
            }
        }
        Ok(())
    }
}

fn image_volumes(way: &str) -> Result<ImageVolumes, Error> {
    match way {
        "anonymous" | "bind" | "" => Ok(ImageVolumes::Anonymous),
        "tmpfs" => Ok(ImageVolumes::Tmpfs),
        "ignore" => Ok(ImageVolumes::Ignore),
        other => Err(Error::Invalid(format!(
            "invalid value {other:?} for --image-volume: use anonymous, bind, tmpfs or ignore"
        ))),
    }
}

/// `CONTAINER[:OPTIONS]`
pub(super) fn volumes_from(text: &str) -> Result<VolumesFrom, Error> {
    let (container, options) = text.split_once(':').unwrap_or((text, ""));
    let mut from = VolumesFrom { container: container.to_owned(), ..VolumesFrom::default() };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" | "rw" if from.access.is_none() => from.access = Some(option.to_owned()),
            "z" => from.relabel = Some(Relabel::Shared),
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid option {option:?} in --volumes-from {text}: use ro or rw, and z"
                )));
            }
        }
    }
    Ok(from)
}
