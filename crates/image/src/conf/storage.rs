//! storage.conf (containers-storage.conf(5)): the limits of containers, and how their root file systems are mounted. What it says of
//! places and drivers is about another store.

use serde::Deserialize;

use super::error::ConfError;
use super::registries::File;

/// What a container may write when nothing else is asked for, and what its files are good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageDefaults {
    /// `size`, in bytes, as a size is written
    pub size: Option<String>,
    /// `inodes`, likewise
    pub inodes: Option<String>,
    /// `mountopt`, words with commas between them
    pub mount_options: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    storage: Storage,
}

#[derive(Default, Deserialize)]
struct Storage {
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    size: Option<String>,
    mountopt: Option<String>,
    #[serde(default)]
    overlay: Limits,
}

#[derive(Default, Deserialize)]
struct Limits {
    size: Option<String>,
    inodes: Option<String>,
    mountopt: Option<String>,
}

impl StorageDefaults {
    /// Whether a file may say anything of that: it is looked at for each container.
    pub fn may_be_in(file: File<'_>) -> bool {
        file.mentions(&["size", "inodes", "mountopt"])
    }

    /// Puts files together, as [`super::TransferDefaults::parse`] does.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            let document: Document = file.toml()?;
            let Options { size, mountopt, overlay } = document.storage.options;
            all.size = overlay.size.or(size).or(all.size);
            all.mount_options = overlay.mountopt.or(mountopt).or(all.mount_options);
            all.inodes = overlay.inodes.or(all.inodes);
        }
        let is_said = |text: &String| !text.is_empty();
        Ok(Self {
            size: all.size.filter(is_said),
            inodes: all.inodes.filter(is_said),
            mount_options: all.mount_options.filter(is_said),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_driver_or_else_of_all() {
        let parse = |texts: &[&str]| {
            let files = texts.iter().map(|text| File { name: "storage.conf", text });
            let all = StorageDefaults::parse(files).map_err(|e| e.to_string());
            all.map(|all| (all.size, all.inodes, all.mount_options))
        };
        let main = "[storage]\ndriver = \"overlay\"\n[storage.options]\nsize = \"5g\"\npull_options = {enable_partial_images = \"true\"}\n";
        let own = "[storage.options.overlay]\nmountopt = \"nodev\"\nsize = \"1g\"\ninodes = \"1000\"\n";
        let some = |text: &str| Some(text.to_owned());
        let own_all = || Ok((some("1g"), some("1000"), some("nodev")));
        assert_eq!(parse(&[main]), Ok((some("5g"), None, None)));
        assert_eq!(parse(&[&[main, own].concat()]), own_all());
        assert_eq!(parse(&[main, own]), own_all());
        assert_eq!(
            parse(&["[storage.options.overlay]\nsize = \"\"\nmountopt = \"\""]),
            Ok((None, None, None))
        );
        assert_eq!(parse(&[own, "[storage.options]\nmountopt = \"nosuid\""]).unwrap().2, some("nosuid"));
        assert!(
            parse(&["[storage.options]\nsize = 5"]).unwrap_err().starts_with("parse storage.conf: line 2")
        );
        let says = |text| StorageDefaults::may_be_in(File { name: "storage.conf", text });
        assert!(
            says(main)
                && says(own)
                && !says("[storage.options.overlay]\n# size = \"\"\n#inodes\n# mountopt = \"x\"\n")
        );
    }
}
