//! `--storage-opt`: before the command for the store, after `run` and `create` for one container.

use loment_engine::config::{Restrictions, SizeLimits};
use loment_image::conf::StorageDefaults;
use loment_store::Form;

use crate::ecosystem::{self, Text};
use crate::error::Error;
use crate::globals::Globals;
use crate::units::parse_size;

/// Options of the store. Limits have the names of Podman's `storage.conf` and of Docker's daemon, too.
pub(crate) fn apply(option: &str, globals: &mut Globals) -> Result<(), Error> {
    if option.is_empty() {
        // As with Podman, what was said before counts no more.
        (globals.form, globals.copies, globals.size) = (None, None, SizeLimits::default());
        globals.restrictions = None;
        return Ok(());
    }
    match option.split_once('=') {
        Some(("loment.form", "auto")) => globals.form = None,
        Some(("loment.form", "erofs")) => globals.form = Some(Form::Erofs),
        Some(("loment.form", "dir")) => globals.form = Some(Form::Dir),
        Some(("loment.files", "auto")) => globals.copies = None,
        Some(("loment.files", "copy")) => globals.copies = Some(true),
        Some(("loment.files", "overlay")) => globals.copies = Some(false),
        Some(("size" | "overlay.size" | "overlay2.size", text)) => {
            globals.size.bytes = Some(number(option, text)?);
        }
        Some(("inodes" | "overlay.inodes", text)) => globals.size.inodes = Some(number(option, text)?),
        Some(("mountopt" | "overlay.mountopt", text)) => {
            globals.restrictions = Some(parse_restrictions(text, "--storage-opt overlay.mountopt")?);
        }
        _ => {
            return Err(Error::Invalid(format!(
                "invalid value {option:?} for --storage-opt: the store has the options \
                 loment.form=auto, erofs or dir, loment.files=auto, overlay or copy, overlay.size=SIZE, overlay.inodes=NUMBER and overlay.mountopt=WORDS"
            )));
        }
    }
    Ok(())
}

/// What is the same for all containers.
pub(crate) struct OfAll {
    pub(crate) size: SizeLimits,
    pub(crate) restrictions: Restrictions,
}

/// Limits of all containers: what flags say, and of all else storage.conf.
pub(crate) fn of_all(globals: &Globals) -> Result<OfAll, Error> {
    let flags = globals.size;
    let texts = ecosystem::layered("storage.conf", &["CONTAINERS_STORAGE_CONF"])?;
    if !texts.iter().any(|text| StorageDefaults::may_be_in(text.file())) {
        return Ok(OfAll { size: flags, restrictions: globals.restrictions.unwrap_or_default() });
    }
    let found =
        StorageDefaults::parse(texts.iter().map(Text::file)).map_err(|e| Error::Invalid(e.to_string()))?;
    let number = |key: &str, text: Option<String>| {
        text.map(|text| {
            let number = parse_size(&text).and_then(|n| n.try_into().ok());
            let wrong =
                || format!("invalid value {text:?} for {key} in storage.conf: use a number such as 10g");
            number.ok_or_else(|| Error::Invalid(wrong()))
        })
        .transpose()
    };
    let (bytes, inodes) = (number("size", found.size)?, number("inodes", found.inodes)?);
    let size = SizeLimits { bytes: flags.bytes.or(bytes), inodes: flags.inodes.or(inodes) };
    let restrictions = match (globals.restrictions, found.mount_options) {
        (Some(restrictions), _) => restrictions,
        (None, Some(text)) => parse_restrictions(&text, "mountopt in storage.conf")?,
        (None, None) => Restrictions::default(),
    };
    Ok(OfAll { size, restrictions })
}

/// Of options of overlayfs and of fuse-overlayfs those that say how it keeps what is changed, which is decided here, and those that say
/// nothing. Files that come with images of Podman have some of them.
const OF_OVERLAYFS: [&str; 16] = [
    "metacopy",
    "redirect_dir",
    "index",
    "nfs_export",
    "xino",
    "uuid",
    "verity",
    "fsync",
    "xattr_permissions",
    "squash_to_uid",
    "squash_to_gid",
    "uidmapping",
    "gidmapping",
    "threaded",
    "max_idle_threads",
    "timeout",
];
const AS_USUAL: [&str; 10] = [
    "dev",
    "suid",
    "exec",
    "atime",
    "relatime",
    "volatile",
    "userxattr",
    "squash_to_root",
    "static_nlink",
    "noacl",
];

/// What `key` says of how root file systems are mounted.
fn parse_restrictions(text: &str, key: &str) -> Result<Restrictions, Error> {
    let mut all = Restrictions::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "nodev" => all.nodev = true,
            "nosuid" => all.nosuid = true,
            "noexec" => all.noexec = true,
            "noatime" => all.noatime = true,
            word if AS_USUAL.contains(&word) => {}
            word if word.split_once('=').is_some_and(|(name, _)| OF_OVERLAYFS.contains(&name)) => {}
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid value {word:?} for {key}: root file systems can be nodev, nosuid, noexec and noatime"
                )));
            }
        }
    }
    Ok(all)
}

/// Limits of one container.
pub(crate) fn of_container(options: &[String]) -> Result<SizeLimits, Error> {
    let mut size = SizeLimits::default();
    for option in options {
        match option.split_once('=') {
            Some(("size", text)) => size.bytes = Some(number(option, text)?),
            Some(("inodes", text)) => size.inodes = Some(number(option, text)?),
            _ => {
                return Err(Error::Invalid(format!(
                    "invalid value {option:?} for --storage-opt: a container has the options size=SIZE and inodes=NUMBER"
                )));
            }
        }
    }
    Ok(size)
}

/// Both may have a unit, as both have it with Podman.
fn number(option: &str, text: &str) -> Result<u64, Error> {
    parse_size(text).and_then(|n| n.try_into().ok()).ok_or_else(|| {
        Error::Invalid(format!(
            "invalid value {option:?} for --storage-opt: use size=SIZE with a size such as 10g, or inodes=NUMBER"
        ))
    })
}
