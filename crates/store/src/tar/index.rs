//! Archives of files that others made: where each member is, found without reading what is in it.
//!
//! Names are keys only: nothing is created under them. Headers are read by the same code as a layer's, so that both agree on where a
//! member ends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::HeaderProblem;
use super::header::{self, Block};
use super::pax;

/// Members of one archive. An image has a few hundred at most; `docker save` of a hundred images some thousands.
const MAX_MEMBERS: usize = 100_000;
/// Bytes of all names and link targets.
const MAX_NAMES: usize = 16 << 20;
/// Extended headers larger than this are refused, as in layers.
const MAX_EXTENDED: u64 = 1 << 20;
/// Links followed from one to the next.
const MAX_LINKS: usize = 16;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum ArchiveError {
    #[error("cannot read the archive")]
    Read(#[from] io::Error),
    #[error("the archive is truncated at byte {offset}")]
    Truncated { offset: u64 },
    #[error("the archive is malformed near byte {offset}: {problem}")]
    Header { offset: u64, problem: HeaderProblem },
    #[error("the archive has more members than are accepted")]
    TooMany,
    #[error("the archive has {name:?} twice")]
    Twice { name: String },
    #[error("{name:?} is a link that leads nowhere in the archive")]
    Link { name: String },
}

impl ArchiveError {
    /// Whether what was read does not even begin as an archive does.
    pub fn is_something_else(&self) -> bool {
        matches!(self, Self::Truncated { offset: 0 } | Self::Header { offset: 0, .. })
    }
}

/// Where the content of a member is in the archive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From the archive's start.
    pub offset: u64,
    /// Length.
    pub size: u64,
}

#[derive(Debug)]
enum Entry {
    File(Member),
    /// The name of another member.
    Link(String),
}

/// The files and links of an archive by their names.
#[derive(Debug, Default)]
pub struct ArchiveIndex {
    entries: HashMap<String, Entry>,
}

impl ArchiveIndex {
    /// Finds the members of an archive; `file` can be read at any place.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn read(file: &File) -> Result<Self, ArchiveError> {
        let length = file.metadata()?.len();
        Self::build(length, |bytes, offset| file.read_exact_at(bytes, offset))
    }

    /// The same of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, ArchiveError> {
        Self::build(bytes.len() as u64, |out, offset| {
            let from = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start + out.len()));
            out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn build(length: u64, read: impl Fn(&mut [u8], u64) -> io::Result<()>) -> Result<Self, ArchiveError> {
        let mut index = Self::default();
        let mut walk = Walk { length, offset: 0, read };
        let mut names = 0;
        while let Some(block) = walk.next()? {
            let (path, link) = (&block.path, &block.link);
            let name = clean(path, "");
            let member = Member { offset: walk.offset, size: block.size };
            let entry = match block.typeflag {
                0 if path.ends_with(b"/") => None,
                0 | b'0' | b'7' => {
                    walk.pass(block.size)?;
                    Some(Entry::File(member))
                }
                // A hard link's target is a member's name, a symbolic link's is seen from where it stands.
                b'1' => Some(Entry::Link(clean(link, ""))),
                b'2' => Some(Entry::Link(clean(link, parent(&name)))),
                // Stored in pieces, which nobody does in archives of images.
                b'S' => return Err(walk.bad(HeaderProblem::Sparse)),
                _ => None,
            };
            let Some(entry) = entry.filter(|_| !name.is_empty()) else { continue };
            names += path.len() + link.len();
            if index.entries.len() >= MAX_MEMBERS || names > MAX_NAMES {
                return Err(ArchiveError::TooMany);
            }
            if index.entries.insert(name.clone(), entry).is_some() {
                return Err(ArchiveError::Twice { name });
            }
        }
        Ok(index)
    }

    /// The names of its files and links, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file of that name; links are followed inside the archive. `None` when there is none.
    ///
    /// # Errors
    /// [`ArchiveError::Link`].
    pub fn find(&self, name: &str) -> Result<Option<Member>, ArchiveError> {
        let mut at = clean(name.as_bytes(), "");
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&at) {
                Some(Entry::File(member)) => return Ok(Some(*member)),
                Some(Entry::Link(target)) => at.clone_from(target),
                None if at == clean(name.as_bytes(), "") => return Ok(None),
                None => break,
            }
        }
        Err(ArchiveError::Link { name: name.to_owned() })
    }
}

/// The walk from header to header.
struct Walk<R> {
    length: u64,
    offset: u64,
    read: R,
}

impl<R: Fn(&mut [u8], u64) -> io::Result<()>> Walk<R> {
    /// The next member that is no extended header, with what those say of it, before its content.
    fn next(&mut self) -> Result<Option<Block>, ArchiveError> {
        let (mut extended, mut long_path, mut long_link) = (pax::Pax::default(), None, None);
        let mut begun = false;
        loop {
            if self.offset == self.length && !begun {
                return Ok(None);
            }
            let mut bytes = [0; 512];
            self.at(&mut bytes)?;
            if bytes == [0; 512] {
                return if begun { Err(self.truncated()) } else { Ok(None) };
            }
            let mut block = header::parse(&bytes).map_err(|problem| self.bad(problem))?;
            self.offset += 512;
            match block.typeflag {
                b'x' => {
                    let payload = self.extended(&block)?;
                    extended = pax::parse(&payload).map_err(|problem| self.bad(problem))?;
                }
                b'g' => drop(self.extended(&block)?),
                b'L' => long_path = Some(super::until_nul(self.extended(&block)?)),
                b'K' => long_link = Some(super::until_nul(self.extended(&block)?)),
                _ => {
                    if !extended.sparse.is_empty() {
                        return Err(self.bad(HeaderProblem::Sparse));
                    }
                    block.size = extended.size.unwrap_or(block.size);
                    if let Some(path) = long_path.or(extended.path) {
                        block.path = path;
                    }
                    if let Some(link) = long_link.or(extended.link) {
                        block.link = link;
                    }
                    return Ok(Some(block));
                }
            }
            begun = true;
        }
    }

    fn at(&self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match (self.read)(bytes, self.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            result => Ok(result?),
        }
    }

    fn extended(&mut self, block: &Block) -> Result<Vec<u8>, ArchiveError> {
        if block.size > MAX_EXTENDED {
            return Err(self.bad(HeaderProblem::ExtendedTooLarge(block.size)));
        }
        let mut payload = vec![0; block.size as usize];
        self.at(&mut payload)?;
        self.pass(block.size)?;
        Ok(payload)
    }

    /// Goes on behind content and its padding. The last member's padding may be missing, its content not.
    fn pass(&mut self, size: u64) -> Result<(), ArchiveError> {
        let end = self.offset.checked_add(size).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| self.truncated())?;
        self.offset = end.checked_next_multiple_of(512).unwrap_or(end).min(self.length);
        Ok(())
    }

    fn truncated(&self) -> ArchiveError {
        ArchiveError::Truncated { offset: self.offset }
    }

    fn bad(&self, problem: HeaderProblem) -> ArchiveError {
        ArchiveError::Header { offset: self.offset, problem }
    }
}

/// A name as seen from a directory of the archive, without `.`, `..` and doubled slashes. It never leaves the archive.
fn clean(name: &[u8], from: &str) -> String {
    let text = String::from_utf8_lossy(name);
    let mut parts: Vec<&str> = Vec::new();
    let start = if text.starts_with('/') { "" } else { from };
    for part in start.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder);
        builder.into_inner().unwrap()
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header
    }

    fn file(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
        let mut header = header(tar::EntryType::Regular, content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }

    #[test]
    fn members_are_found_by_name_and_through_links() {
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let bytes = archive(|builder| {
            file(builder, "manifest.json", b"[]");
            file(builder, "a/layer.tar", &[7; 1000]);
            file(builder, &long, b"long");
            for (name, target) in [
                ("b/layer.tar", "../a/layer.tar"),
                ("c/layer.tar", "../b/layer.tar"),
                ("out", "../../../a/layer.tar"),
                ("nowhere", "x"),
                ("loop", "loop"),
            ] {
                builder.append_link(&mut header(tar::EntryType::Symlink, 0), name, target).unwrap();
            }
            builder.append_link(&mut header(tar::EntryType::Link, 0), "d/hard", "a/layer.tar").unwrap();
        });
        let index = ArchiveIndex::of(&bytes).unwrap();
        let layer = Member { offset: 3 * 512, size: 1000 };
        for name in ["a/layer.tar", "./a//layer.tar", "b/layer.tar", "c/layer.tar", "out", "d/hard"] {
            assert_eq!(index.find(name).unwrap(), Some(layer), "{name}");
        }
        let found = index.find(&long).unwrap().unwrap();
        assert_eq!(&bytes[found.offset as usize..][..found.size as usize], b"long");
        assert_eq!(index.find("a").unwrap(), None);
        for name in ["nowhere", "loop"] {
            assert!(matches!(index.find(name), Err(ArchiveError::Link { .. })), "{name}");
        }
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let bytes = archive(|builder| file(builder, "a", &[7; 1000]));
        for end in [1, 511, 513, 1000, 1511] {
            assert!(matches!(ArchiveIndex::of(&bytes[..end]), Err(ArchiveError::Truncated { .. })), "{end}");
        }
        // Without padding and end mark.
        assert!(ArchiveIndex::of(&bytes[..1512]).unwrap().find("a").unwrap().is_some());
        let twice = archive(|builder| {
            file(builder, "a", b"1");
            file(builder, "./a", b"2");
        });
        assert!(matches!(ArchiveIndex::of(&twice), Err(ArchiveError::Twice { .. })));
        assert!(matches!(ArchiveIndex::of(&[b'x'; 1024]), Err(ArchiveError::Header { .. })));
        // A size that reaches past the end of everything.
        let huge = archive(|builder| {
            let mut header = header(tar::EntryType::Regular, u64::MAX >> 1);
            header.set_path("a").unwrap();
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        });
        assert!(matches!(ArchiveIndex::of(&huge), Err(ArchiveError::Truncated { .. })));
    }

    proptest::proptest! {
        #[test]
        fn a_changed_byte_is_no_panic(at in 0..4096usize, value: u8) {
            let mut bytes = archive(|builder| {
                file(builder, &"x".repeat(200), b"1");
                file(builder, "b", b"2");
            });
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = ArchiveIndex::of(&bytes);
        }
    }
}
