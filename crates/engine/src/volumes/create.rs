//! Making volumes.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_monitor::now_rfc3339;
use loment_store::{ImageId, Place, Rules, extract};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with, syncfs};
use rustix::io::Errno;

use super::{DATA, FRESH, NEW, RECORD, StoredVolume, USERS, VERSION};
use crate::error::{Context, invalid};
use crate::names::{check_name_of, new_id};
use crate::new_dir::{new_dir, sweep};
use crate::{Engine, Error};

/// A volume to be made.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// Its name; one of its own if there is none.
    pub name: Option<String>,
    /// Empty is `local`.
    pub driver: String,
    /// For the driver `image`, the image that its option `image` means: its files are copied.
    pub image: Option<ImageId>,
    /// The user's.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// Whose it is.
    pub uid: Option<u32>,
    /// The group whose it is.
    pub gid: Option<u32>,
    /// It is made for a container, and goes with that.
    pub anonymous: bool,
}

impl Engine {
    /// Makes a volume.
    ///
    /// # Errors
    /// [`Error::VolumeExists`], [`Error::Invalid`]; nothing is left of one that could not be made.
    pub fn create_volume(&self, asked: NewVolume) -> Result<StoredVolume, Error> {
        let volume = resolve(asked)?;
        self.make_volume(volume, None, true)
    }

    /// Makes one with these files, of an archive whose owners are those of the volume's file system, in a directory with that owner and
    /// mode.
    pub(crate) fn unpack_volume(
        &self,
        asked: NewVolume,
        (uid, gid, mode): (u32, u32, u32),
        source: impl io::BufRead,
    ) -> Result<StoredVolume, Error> {
        self.make_volume_with(resolve(asked)?, None, true, |new| {
            let data = new.join(DATA);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, &data, flags, Mode::empty())?;
            let owners = |uid, gid| Some((u32::try_from(uid).ok()?, u32::try_from(gid).ok()?));
            let rules = Rules { owners: &owners, replace: true, trusted: true };
            let place = Place { root, path: PathBuf::new(), follow: false };
            extract(source, &place, &rules).map_err(io::Error::other)?;
            chown(&data, Some(uid), Some(gid))?;
            std::fs::set_permissions(&data, PermissionsExt::from_mode(mode & 0o7777))?;
            // Its first container copies nothing to it.
            std::fs::remove_file(new.join(FRESH))?;
            Ok(syncfs(&place.root)?)
        })
    }

    /// The same, for a container that uses it from the beginning; one that is thrown away at its end need not survive a power cut.
    pub(crate) fn make_volume(
        &self,
        volume: StoredVolume,
        user: Option<&str>,
        durable: bool,
    ) -> Result<StoredVolume, Error> {
        self.make_volume_with(volume, user, durable, |_| Ok(()))
    }

    /// The same; what `content` makes in its directory is there from the beginning.
    pub(crate) fn make_volume_with(
        &self,
        volume: StoredVolume,
        user: Option<&str>,
        durable: bool,
        content: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<StoredVolume, Error> {
        let (dir, path) = (self.volumes_dir(), self.volume_dir(&volume.name));
        self.sweep_new_volumes();
        let _held = volume.image.as_ref().map(|image| self.store().hold_image(image)).transpose()?;
        let (new, _lock) = new_dir(&dir, NEW, 0o711)?;
        if volume.size.any()
            && let Err(error) = self.store().limit(&volume.name, [&new], volume.size.into())
        {
            let _ = std::fs::remove_dir_all(&new);
            return Err(error.into());
        }
        let filled = fill(&new, &volume, user, durable);
        if let (Ok(()), Some(image)) = (&filled, &volume.image)
            && let Err(error) = self.store().copy_image(image, &new.join(DATA))
        {
            let _ = std::fs::remove_dir_all(&new);
            return Err(error.into());
        }
        let made = filled
            .and_then(|()| content(&new))
            .and_then(|()| Ok(renameat_with(CWD, &new, CWD, &path, RenameFlags::NOREPLACE)?))
            .and_then(|()| if durable { File::open(&dir)?.sync_all() } else { Ok(()) });
        match made {
            Err(e) if e.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {
                let _ = std::fs::remove_dir_all(&new);
                return Err(Error::VolumeExists { name: volume.name });
            }
            Err(_) => drop(std::fs::remove_dir_all(&new)),
            Ok(()) => {}
        }
        made.context("make volume", &volume.name)?;
        self.tell_of_volume(What::Create, &volume.name, &volume.labels);
        Ok(StoredVolume { dir: path, ..volume })
    }

    /// Removes what killed programs have left half made.
    pub(crate) fn sweep_new_volumes(&self) {
        sweep(&self.volumes_dir(), NEW, |new, _| drop(std::fs::remove_dir_all(new)));
    }
}

/// From what was asked to what it is.
pub(crate) fn resolve(asked: NewVolume) -> Result<StoredVolume, Error> {
    let NewVolume { name, driver, image, labels, options, uid, gid, anonymous } = asked;
    let (name, anonymous) = match name.filter(|name| !name.is_empty()) {
        Some(name) => (name, anonymous),
        None => (new_id().context("choose", "a name")?, true),
    };
    check_name_of("volume name", &name)?;
    if !matches!(driver.as_str(), "" | "local" | "image") {
        let hint = "volumes of other drivers than local and image are not supported: leave it out";
        return Err(invalid("volume driver", driver, hint));
    }
    let mut volume = StoredVolume {
        version: VERSION,
        name,
        created: now_rfc3339(),
        driver: if driver.is_empty() { "local".into() } else { driver },
        image,
        labels,
        anonymous,
        options,
        owner_chosen: uid.is_some() || gid.is_some(),
        ..StoredVolume::default()
    };
    (volume.uid, volume.gid) = (uid.unwrap_or_default(), gid.unwrap_or_default());
    if volume.driver == "image" {
        check_image(&volume)?
    } else {
        take_options(&mut volume)?
    }
    Ok(volume)
}

/// Refuses a volume of the driver `image` whose image is not known, or that is to be anything but a copy of its files.
fn check_image(volume: &StoredVolume) -> Result<(), Error> {
    if let Some(key) = volume.options.keys().find(|key| *key != "image") {
        return Err(invalid("option of volumes", key, "the driver image has the option image only"));
    }
    if volume.owner_chosen {
        let hint = "its files have the owners that they have in the image: leave out the user and the group";
        return Err(invalid("volume driver", "image", hint));
    }
    let hint = "make the volume before it is used: volume create --driver image --opt image=IMAGE NAME";
    volume.image.as_ref().map(drop).ok_or_else(|| invalid("volume driver", "image", hint))
}

/// Reads the options of the driver `local`, which are Podman's and Docker's.
fn take_options(volume: &mut StoredVolume) -> Result<(), Error> {
    let known = ["type", "device", "o", "copy", "nocopy"];
    if let Some(key) = volume.options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(invalid("option of volumes", key, format!("use one of {}", known.join(", "))));
    }
    let has_mount = volume.has_mount();
    check_device(&volume.options)?;
    volume.no_copy = volume.options.contains_key("nocopy");
    let of_o = volume.options.get("o").cloned().unwrap_or_default();
    for option in of_o.split(',').filter(|option| !option.is_empty()) {
        let number =
            |value: &str| value.parse().map_err(|_| invalid("option of volumes", option, "use a number"));
        match option.split_once('=') {
            Some(("uid", value)) => (volume.uid, volume.owner_chosen) = (number(value)?, true),
            Some(("gid", value)) => (volume.gid, volume.owner_chosen) = (number(value)?, true),
            None if option == "nocopy" => volume.no_copy = true,
            None if option == "copy" => {}
            Some(("size", value)) if !has_mount => volume.size.bytes = Some(bytes(option, value)?),
            Some(("inodes", value)) if !has_mount => volume.size.inodes = Some(bytes(option, value)?),
            None if !has_mount && option == "noquota" => {}
            _ if !has_mount => {
                let hint =
                    "without type and device nothing is mounted: use uid, gid, size, inodes, copy or nocopy";
                return Err(invalid("option of volumes", option, hint));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A number with one of the kernel's units, as for a tmpfs.
fn bytes(option: &str, value: &str) -> Result<u64, Error> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => 64,
    };
    let number = digits.parse::<u64>().ok().filter(|_| shift < 64);
    let number = number.and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| invalid("option of volumes", option, "use a number such as 10g"))
}

/// Refuses a device that cannot be one of that type.
fn check_device(options: &BTreeMap<String, String>) -> Result<(), Error> {
    let kind = options.get("type").map(String::as_str).unwrap_or_default();
    let is_bound = loment_monitor::volume_mounts::is_bound(kind, &mount_options(options));
    match options.get("device").filter(|device| !device.is_empty()) {
        None if is_bound && (!kind.is_empty() || options.contains_key("device")) => {
            let hint = "nothing is said of what is mounted: add the option device=DIRECTORY";
            Err(invalid("option of volumes", format!("type={kind}"), hint))
        }
        None if takes_a_device(kind) => {
            let hint = "such a file system is on a device: add the option device=PATH";
            Err(invalid("option of volumes", format!("type={kind}"), hint))
        }
        Some(device) if is_bound && !Path::new(device).is_absolute() => {
            let hint = "it would be another directory wherever it is used: use an absolute path";
            Err(invalid("option of volumes", format!("device={device}"), hint))
        }
        Some(device) if kind == "bind" => std::fs::metadata(device)
            .map(drop)
            .map_err(|why| Error::VolumeDevice { device: device.clone(), why }),
        _ => Ok(()),
    }
}

/// Whether this kernel has a file system of that type that is on a device (proc_filesystems(5)).
fn takes_a_device(kind: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    !kind.is_empty() && known.lines().any(|line| line.strip_prefix('\t') == Some(kind))
}

/// What is left of `o` for the mount itself.
pub(super) fn mount_options(options: &BTreeMap<String, String>) -> Vec<String> {
    let ours = ["copy", "nocopy", "noquota"];
    let all = options.get("o").map(String::as_str).unwrap_or_default().split(',');
    let is_tmpfs = options.get("type").is_some_and(|kind| kind == "tmpfs");
    // A tmpfs is made with its owner; other file systems have them in their inodes.
    let is_owner = |option: &&str| option.starts_with("uid=") || option.starts_with("gid=");
    let kept = all.filter(|o| !o.is_empty() && !ours.contains(o) && (is_tmpfs || !is_owner(o)));
    kept.map(str::to_owned).collect()
}

fn fill(new: &Path, volume: &StoredVolume, user: Option<&str>, durable: bool) -> io::Result<()> {
    let data = new.join(DATA);
    DirBuilder::new().mode(0o755).create(&data)?;
    // Whatever the umask.
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755))?;
    if volume.owner_chosen {
        chown(&data, Some(volume.uid), Some(volume.gid))?;
    }
    DirBuilder::new().mode(0o700).create(new.join(USERS))?;
    if let Some(user) = user {
        File::create(new.join(USERS).join(user))?;
    }
    if volume.image.is_none() {
        File::create(new.join(FRESH))?;
    }
    let mut file = File::create(new.join(RECORD))?;
    file.write_all(&serde_json::to_vec(volume)?)?;
    if durable {
        file.sync_data()?;
        File::open(new)?.sync_all()?;
    }
    Ok(())
}
