//! Directories of configuration files that are read when a container starts.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use crate::Error;
use crate::error::{Context, invalid};

/// No file is longer, in bytes,
const MAX_FILE: u64 = 4 << 20;
/// and no directory has more of them.
const MAX_FILES: usize = 1024;

/// A file.
#[derive(Debug)]
pub(crate) struct Text {
    /// The directory that it is in, by its number.
    pub(crate) directory: usize,
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The files whose names end so, by directory and name. A directory that is not there has none.
pub(crate) fn read(directories: &[PathBuf], endings: &[&str]) -> Result<Vec<Text>, Error> {
    let mut all = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        let entries = match std::fs::read_dir(directory) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            other => other.context("read", directory.display())?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.context("read", directory.display())?.path();
            let ends = |ending: &&str| path.extension().is_some_and(|extension| extension == *ending);
            if endings.iter().any(ends) {
                paths.push(path);
            }
        }
        if paths.len() > MAX_FILES {
            let hint = format!("it has more than {MAX_FILES} files");
            return Err(invalid("directory", directory.display().to_string(), hint));
        }
        paths.sort();
        for path in paths {
            let file = match std::fs::File::open(&path) {
                // A link to nothing, or one that is gone by now.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                other => other.context("open", path.display())?,
            };
            let mut text = String::new();
            let length = file.take(MAX_FILE + 1).read_to_string(&mut text).context("read", path.display())?;
            if length as u64 > MAX_FILE {
                let hint = format!("it is longer than {MAX_FILE} bytes");
                return Err(invalid("file", path.display().to_string(), hint));
            }
            all.push(Text { directory: number, path: path.display().to_string(), text });
        }
    }
    Ok(all)
}
