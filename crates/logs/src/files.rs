//! Finding the files of a log while they are renamed.

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cursor::Cursor;
use crate::k8s;
use crate::rotate::{MAX_FILES, numbered};
use crate::time::Moment;

/// How often the files are looked for, while they are rotated each time.
const LOOKS: usize = 8;
/// Numbers without a file after which none is expected. One is where the writer is renaming at this moment.
const GAP: u32 = 3;

/// Which file it is, whatever its name. No other one is the same while this is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// A file of a log, open.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) file: File,
    pub(crate) identity: Identity,
    /// Its length, in bytes: of the newest file, when it was found.
    pub(crate) len: u64,
}

impl Held {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                Ok(Some(Self { identity: identity(&metadata), len: metadata.len(), file }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// When its first record was written. One without any is newer than all others.
    fn first(&self) -> Moment {
        let first = || {
            let mut cursor = Cursor::new(self.file.try_clone().ok()?, 0, None);
            let (_, line) = cursor.next_line().ok()??;
            Moment::parse(k8s::parse(cursor.line(line))?.time.as_bytes())
        };
        first().unwrap_or(Moment::new(i64::MAX, 0))
    }
}

fn identity(metadata: &std::fs::Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// The files of a log, the newest first; only those that are newer than `known`, which is open.
///
/// Whoever looks from a number to the next higher one misses no file, as none ever goes to a lower one. But after a pause in which
/// the log was rotated twice a newer file is found behind an older one. So the order counts only when the newest file was the same
/// before and after.
pub(crate) fn newer_than(path: &Path, known: Option<Identity>) -> io::Result<Vec<Held>> {
    let mut files = Vec::new();
    for _ in 0..LOOKS {
        let newest = now(path)?;
        if newest.is_some() && newest == known {
            break;
        }
        let order = look(path, known, &mut files)?;
        if newest.is_some() && now(path)? == newest {
            // What has no name any more was deleted: it is older than all others.
            files.sort_by_cached_key(|held| match order.iter().position(|i| *i == held.identity) {
                Some(age) => (age, None),
                None => (order.len(), Some(Reverse(held.first()))),
            });
            return complete(files);
        }
    }
    files.sort_by_cached_key(|held| Reverse(held.first()));
    complete(files)
}

/// All but the newest file are complete by now, and perhaps longer than when they were opened.
fn complete(mut files: Vec<Held>) -> io::Result<Vec<Held>> {
    for held in files.iter_mut().skip(1) {
        held.len = held.file.metadata()?.len();
    }
    Ok(files)
}

/// Opens the files that are not open yet; in which order they were found.
fn look(path: &Path, known: Option<Identity>, files: &mut Vec<Held>) -> io::Result<Vec<Identity>> {
    let mut order = Vec::new();
    let mut missing = 0;
    for n in 0..=MAX_FILES {
        let name = if n == 0 { path.to_path_buf() } else { numbered(path, n) };
        let Some(identity) = look_at(&name, files)? else {
            missing += 1;
            if missing == GAP {
                break;
            }
            continue;
        };
        missing = 0;
        if known == Some(identity) {
            break;
        }
        if !order.contains(&identity) {
            order.push(identity);
        }
    }
    files.retain(|held| known != Some(held.identity));
    Ok(order)
}

/// Opens the file of that name, unless it is open.
fn look_at(name: &Path, files: &mut Vec<Held>) -> io::Result<Option<Identity>> {
    let Some(found) = now(name)? else { return Ok(None) };
    if files.iter().any(|held| held.identity == found) {
        return Ok(Some(found));
    }
    // It may have another name by now, and another file this one.
    let Some(held) = Held::open(name)? else { return Ok(None) };
    let identity = held.identity;
    if !files.iter().any(|held| held.identity == identity) {
        files.push(held);
    }
    Ok(Some(identity))
}

/// Which file has that name. Only files are read: somebody may have put something else there.
fn now(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then(|| identity(&metadata))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_from_the_newest_on_and_past_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        for (name, text) in [(path.clone(), "aaa"), (numbered(&path, 1), "bb"), (numbered(&path, 3), "c")] {
            std::fs::write(name, text).unwrap();
        }
        let found = newer_than(&path, None).unwrap();
        assert_eq!(found.iter().map(|h| h.len).collect::<Vec<_>>(), [3, 2, 1]);
        let newer = newer_than(&path, Some(found[2].identity)).unwrap();
        assert_eq!(newer.iter().map(|h| h.len).collect::<Vec<_>>(), [3, 2]);
        assert!(newer_than(&path, Some(found[0].identity)).unwrap().is_empty());
    }
}
