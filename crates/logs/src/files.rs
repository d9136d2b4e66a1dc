//! Finding the files of a log while they are renamed and compressed.

use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::compress::{Was, unpack};
use crate::cursor::Cursor;
use crate::rotate::{MAX_FILES, numbered, packed};
use crate::settings::Format;
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

/// What a file is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    identity: Identity,
    /// What is said of it where it has been compressed. That changes as long as it is written to.
    was: Option<Was>,
}

impl Known {
    /// The same now that it may have grown.
    pub(crate) fn now(&self, file: &File) -> io::Result<Self> {
        let was = if self.was.is_some() { Some(Was::of(file)?) } else { None };
        Ok(Self { identity: self.identity, was })
    }

    fn is(&self, other: &Held) -> bool {
        let became = |was: Was| other.packed.flatten().is_some_and(|packed| packed.is(&was));
        self.identity == other.identity || self.was.is_some_and(became)
    }
}

/// A file of a log, open.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) file: File,
    /// Its length, in bytes: of the newest file, when it was found.
    pub(crate) len: u64,
    identity: Identity,
    /// As it is on disk, it can be compressed later.
    is_original: bool,
    /// It is compressed, and was that before; where that is not written in it, nothing.
    packed: Option<Option<Was>>,
}

impl Held {
    fn open(path: &Path, is_packed: bool) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let metadata = file.metadata()?;
        let packed = if is_packed { Some(Was::read(&file)?) } else { None };
        let identity = identity(&metadata);
        Ok(Some(Self { file, len: metadata.len(), identity, is_original: !is_packed, packed }))
    }

    /// What it is known by now.
    pub(crate) fn known(&self) -> io::Result<Known> {
        let was = if self.is_original { Some(Was::of(&self.file)?) } else { None };
        Ok(Known { identity: self.identity, was })
    }

    /// When its first record was written, of a compressed file in which that is said.
    pub(crate) fn said_first(&self) -> Option<Moment> {
        Some(self.packed.flatten()?.first)
    }

    /// When its first record was written. One without any is newer than all others.
    fn first(&self, format: Format) -> Moment {
        let first = || {
            let mut cursor = Cursor::new(self.file.try_clone().ok()?, 0, None);
            let (_, line) = cursor.next_line().ok()??;
            Moment::parse(format.parse(cursor.line(line))?.time.as_bytes())
        };
        self.said_first().or_else(first).unwrap_or(Moment::new(i64::MAX, 0))
    }

    /// Makes a compressed file one that can be read anywhere. It stays the one it is.
    pub(crate) fn unpack(&mut self, path: &Path) -> io::Result<()> {
        if self.packed.take().is_some() {
            self.file = unpack(&self.file, path)?;
            self.len = self.file.metadata()?.len();
        }
        Ok(())
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
pub(crate) fn newer_than(path: &Path, format: Format, known: Option<Known>) -> io::Result<Vec<Held>> {
    let mut files = Vec::new();
    for _ in 0..LOOKS {
        let newest = now(path)?;
        if newest.is_some() && newest == known.map(|k| k.identity) {
            break;
        }
        let order = look(path, known.as_ref(), &mut files)?;
        if newest.is_some() && now(path)? == newest {
            // What has no name any more was deleted: it is older than all others.
            files.sort_by_cached_key(|held| match order.iter().position(|i| *i == held.identity) {
                Some(age) => (age, None),
                None => (order.len(), Some(Reverse(held.first(format)))),
            });
            return complete(files);
        }
    }
    files.sort_by_cached_key(|held| Reverse(held.first(format)));
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
fn look(path: &Path, known: Option<&Known>, files: &mut Vec<Held>) -> io::Result<Vec<Identity>> {
    let mut order = Vec::new();
    let mut missing = 0;
    'numbers: for n in 0..=MAX_FILES {
        let plain = if n == 0 { path.to_path_buf() } else { numbered(path, n) };
        // For a moment there are both.
        let both = [Some((plain, false)), (n > 0).then(|| (packed(path, n), true))];
        missing += 1;
        for (name, is_packed) in both.into_iter().flatten() {
            let identity = match look_at(&name, is_packed, known, files)? {
                Found::Nothing => continue,
                Found::Known => break 'numbers,
                Found::File(identity) => identity,
            };
            missing = 0;
            if !order.contains(&identity) {
                order.push(identity);
            }
        }
        if missing == GAP {
            break;
        }
    }
    Ok(order)
}

/// What has a name.
enum Found {
    Nothing,
    /// The file from which on all is known.
    Known,
    /// One that is open, perhaps as what it was before it was compressed.
    File(Identity),
}

/// Opens the file of that name, unless it is open.
fn look_at(name: &Path, is_packed: bool, known: Option<&Known>, files: &mut Vec<Held>) -> io::Result<Found> {
    let Some(identity) = now(name)? else { return Ok(Found::Nothing) };
    if files.iter().any(|held| held.identity == identity) {
        return Ok(Found::File(identity));
    }
    // It may have another name by now, and another file this one.
    let Some(held) = Held::open(name, is_packed)? else { return Ok(Found::Nothing) };
    if known.is_some_and(|known| known.is(&held)) {
        return Ok(Found::Known);
    }
    let is_same = |other: &&Held| other.known().is_ok_and(|known| known.is(&held));
    if let Some(same) = files.iter().find(is_same) {
        return Ok(Found::File(same.identity));
    }
    let identity = held.identity;
    files.push(held);
    Ok(Found::File(identity))
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
        let found = newer_than(&path, Format::K8sFile, None).unwrap();
        assert_eq!(found.iter().map(|h| h.len).collect::<Vec<_>>(), [3, 2, 1]);
        let newer = newer_than(&path, Format::K8sFile, Some(found[2].known().unwrap())).unwrap();
        assert_eq!(newer.iter().map(|h| h.len).collect::<Vec<_>>(), [3, 2]);
        assert!(newer_than(&path, Format::K8sFile, Some(found[0].known().unwrap())).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_compressed_stays_the_one_it_was() {
        use crate::compress::Chore;
        use crate::rotate::finish_compressed;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        std::fs::write(&path, "new\n").unwrap();
        std::fs::write(numbered(&path, 1), "old\n").unwrap();
        let before = newer_than(&path, Format::K8sFile, None).unwrap();
        Chore::new(&path, 1, Format::K8sFile).run().unwrap();
        // In the moment in which there are both.
        std::fs::copy(path.with_file_name("ctr.log.gz.new"), packed(&path, 1)).unwrap();
        assert_eq!(newer_than(&path, Format::K8sFile, None).unwrap().len(), 2);
        finish_compressed(&path, Some(1)).unwrap();
        let (mut again, identities) =
            (before, |files: &[Held]| files.iter().map(|f| f.identity).collect::<Vec<_>>());
        let order = look(&path, None, &mut again).unwrap();
        assert_eq!((order.clone(), again.len()), (identities(&again), 2));
        let before = again;
        assert_eq!(newer_than(&path, Format::K8sFile, Some(before[1].known().unwrap())).unwrap().len(), 1);
        let mut found = newer_than(&path, Format::K8sFile, None).unwrap();
        found[1].unpack(&path).unwrap();
        assert_eq!((found.len(), found[1].len), (2, 4));
    }
}
