//! The walk over a tar stream: headers are resolved into entries, every other byte goes to the log.

use std::io::{BufRead, Write};

use super::header::{self, Block};
use super::log::TarLog;
use super::pax::{self, Pax};
use super::sparse::{self, Announced, Extent, Form};
use super::{HeaderProblem, until_nul};
use crate::unpack::UnpackError;

/// Extended headers larger than this are refused; Go refuses them too (`maxSpecialFileSize`).
const MAX_EXTENDED: u64 = 1 << 20;
/// Room for a sparse map of a million extents in decimal.
const MAX_SPARSE_MAP: usize = 48 << 20;

/// Entries of one layer: what they are called and look like is in memory at once. The largest images known have a tenth of it.
const MAX_ENTRIES: u64 = 4 << 20;
/// Bytes after the end mark. Writers fill up their last record, whose size they choose (tar(1), `--blocking-factor`).
const MAX_TRAILER: u64 = 64 << 20;

/// What an entry creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// One entry with extended headers applied.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    /// The same; never before `mtime`, which it is where the tar says nothing.
    pub(crate) atime: (i64, u32),
    pub(crate) device: (u64, u64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the file in the layer, holes included.
    pub(crate) size: u64,
    /// Where the stored bytes go; `None` for an ordinary file stored whole.
    pub(crate) sparse: Option<Vec<Extent>>,
}

/// A tar stream being read.
pub(crate) struct TarReader<S, W: Write> {
    source: S,
    pub(crate) log: TarLog<W>,
    position: u64,
    entries: u64,
    /// How many there may be.
    most: u64,
    /// Content of the current entry not read yet, and the padding after it.
    remaining: u64,
    padding: u64,
}

impl<S: BufRead, W: Write> TarReader<S, W> {
    pub(crate) fn new(source: S, log: TarLog<W>) -> Self {
        Self { source, log, position: 0, entries: 0, most: MAX_ENTRIES, remaining: 0, padding: 0 }
    }

    /// Bytes of tar read so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The source and the log, once `next` has returned `None`.
    pub(crate) fn into_parts(self) -> (S, TarLog<W>) {
        (self.source, self.log)
    }

    /// The next entry; content of the previous one that was not read is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let (mut pax, mut long_path, mut long_link) = (None, None, None);
        loop {
            let rest = std::mem::take(&mut self.remaining);
            self.skip(rest)?;
            if !self.pad()? {
                return Ok(None);
            }
            let start = self.position;
            let at = |problem| UnpackError::Header { offset: start, problem };
            let Some(bytes) = self.block()? else {
                // Writers without an end mark exist; an end in the middle of anything is an error elsewhere.
                return if pax.is_none() && long_path.is_none() && long_link.is_none() {
                    Ok(None)
                } else {
                    Err(UnpackError::Truncated { offset: start })
                };
            };
            if bytes == [0; 512] {
                self.trailer()?;
                return Ok(None);
            }
            let block = header::parse(&bytes).map_err(at)?;
            match block.typeflag {
                b'x' => pax = Some(pax::parse(&self.extended(&block)?).map_err(at)?),
                // Global headers describe the archive (git puts a commit there); engines ignore them.
                b'g' => drop(self.extended(&block)?),
                b'L' => long_path = Some(until_nul(self.extended(&block)?)),
                b'K' => long_link = Some(until_nul(self.extended(&block)?)),
                _ => {
                    self.entries += 1;
                    if self.entries > self.most {
                        return Err(UnpackError::TooMuch { what: "entries", limit: self.most });
                    }
                    return self
                        .entry(block, &bytes, pax.unwrap_or_default(), long_path, long_link)
                        .map(Some);
                }
            }
        }
    }

    /// Applies extended headers, as Go does: PAX over ustar, GNU long names over both.
    fn entry(
        &mut self,
        block: Block,
        bytes: &[u8; 512],
        pax: Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, UnpackError> {
        let start = self.position;
        let at = |problem| UnpackError::Header { offset: start, problem };
        let announced = sparse::from_pax(&pax).map_err(at)?;
        let stored = pax.size.unwrap_or(block.size);
        let path = long_path.or(pax.path).unwrap_or(block.path);
        let kind = kind(block.typeflag, &path).map_err(at)?;
        let mtime = pax.mtime.unwrap_or((block.mtime, 0));
        let atime = pax.atime.or(block.atime.map(|seconds| (seconds, 0)));
        let mut entry = Entry {
            kind,
            path,
            link: long_link.or(pax.link).unwrap_or(block.link),
            mode: block.mode,
            uid: pax.uid.unwrap_or(block.uid),
            gid: pax.gid.unwrap_or(block.gid),
            mtime,
            atime: atime.unwrap_or(mtime).max(mtime),
            device: block.device,
            xattrs: pax.xattrs,
            size: stored,
            sparse: None,
        };
        if kind != Kind::File {
            entry.size = 0; // only files have content, whatever the size field says
            return Ok(entry);
        }
        self.remaining = stored;
        self.padding = stored.wrapping_neg() % 512;
        if stored.checked_add(self.padding).is_none() {
            return Err(at(HeaderProblem::Number("size")));
        }
        match announced {
            Some(Announced { form, size, name }) => {
                let extents = match form {
                    Form::Map(extents) => extents,
                    Form::InData => self.sparse_map()?,
                };
                sparse::check(&extents, self.remaining, size).map_err(at)?;
                entry.path = name.unwrap_or(entry.path);
                (entry.size, entry.sparse) = (size, Some(extents));
            }
            None if block.typeflag == b'S' => {
                let (extents, size) = self.gnu_sparse(bytes)?;
                sparse::check(&extents, stored, size).map_err(at)?;
                (entry.size, entry.sparse) = (size, Some(extents));
            }
            None => {}
        }
        Ok(entry)
    }

    /// Hands the next `count` content bytes to `sink` in as few pieces as the source allows.
    pub(crate) fn content<F>(&mut self, mut count: u64, mut sink: F) -> Result<(), UnpackError>
    where
        F: FnMut(&[u8]) -> Result<(), UnpackError>,
    {
        debug_assert!(count <= self.remaining);
        self.remaining -= count;
        while count > 0 {
            let bytes = self.source.fill_buf().map_err(UnpackError::Read)?;
            if bytes.is_empty() {
                return Err(UnpackError::Truncated { offset: self.position });
            }
            let take = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
            sink(&bytes[..take])?;
            self.source.consume(take);
            self.position += take as u64;
            count -= take as u64;
        }
        Ok(())
    }

    /// Moves `count` bytes from the source to the log and to `sink`.
    fn raw(&mut self, mut count: u64, mut sink: impl FnMut(&[u8])) -> Result<(), UnpackError> {
        while count > 0 {
            let bytes = self.source.fill_buf().map_err(UnpackError::Read)?;
            if bytes.is_empty() {
                return Err(UnpackError::Truncated { offset: self.position });
            }
            let take = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
            self.log.raw(&bytes[..take]).map_err(UnpackError::Log)?;
            sink(&bytes[..take]);
            self.source.consume(take);
            self.position += take as u64;
            count -= take as u64;
        }
        Ok(())
    }

    fn skip(&mut self, count: u64) -> Result<(), UnpackError> {
        self.raw(count, |_| {})
    }

    /// Skips the padding after content. False when the stream ends before it does, as it may after the last entry: umoci 0.4
    /// writes such layers (`umoci insert`), and Go reads them. That nothing else is missing is what digests are for.
    fn pad(&mut self) -> Result<bool, UnpackError> {
        let mut padding = std::mem::take(&mut self.padding);
        while padding > 0 {
            let available = self.source.fill_buf().map_err(UnpackError::Read)?.len() as u64;
            if available == 0 {
                return Ok(false);
            }
            self.skip(padding.min(available))?;
            padding -= padding.min(available);
        }
        Ok(true)
    }

    /// One block, or `None` at the end of the stream; a partial block is an error.
    fn block(&mut self) -> Result<Option<[u8; 512]>, UnpackError> {
        if self.source.fill_buf().map_err(UnpackError::Read)?.is_empty() {
            return Ok(None);
        }
        let (mut block, mut filled) = ([0; 512], 0);
        self.raw(512, |bytes| {
            block[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        })?;
        Ok(Some(block))
    }

    /// The payload of an extended header, padding consumed.
    fn extended(&mut self, block: &Block) -> Result<Vec<u8>, UnpackError> {
        if block.size > MAX_EXTENDED {
            let problem = HeaderProblem::ExtendedTooLarge(block.size);
            return Err(UnpackError::Header { offset: self.position, problem });
        }
        let mut payload = Vec::with_capacity(block.size as usize);
        self.raw(block.size, |bytes| payload.extend_from_slice(bytes))?;
        self.skip(block.size.wrapping_neg() % 512)?;
        Ok(payload)
    }

    /// The map blocks of an old GNU sparse entry; they are not counted in its size.
    fn gnu_sparse(&mut self, bytes: &[u8; 512]) -> Result<(Vec<Extent>, u64), UnpackError> {
        let start = self.position;
        let bad = || UnpackError::Header { offset: start, problem: HeaderProblem::Sparse };
        let header = tar::Header::from_byte_slice(bytes).as_gnu().ok_or_else(bad)?;
        let size = header::number(&header.realsize).and_then(|n| u64::try_from(n).ok()).ok_or_else(bad)?;
        let mut extents = Vec::new();
        sparse::push_gnu(&mut extents, &header.sparse).map_err(|_| bad())?;
        let mut more = header.isextended[0] == 1;
        while more {
            let block = self.block()?.ok_or(UnpackError::Truncated { offset: self.position })?;
            let mut extension = tar::GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&block);
            sparse::push_gnu(&mut extents, &extension.sparse).map_err(|_| bad())?;
            more = extension.isextended[0] == 1;
        }
        Ok((extents, size))
    }

    /// The map in front of 1.0 data; it is counted in the stored size.
    fn sparse_map(&mut self) -> Result<Vec<Extent>, UnpackError> {
        let start = self.position;
        let at = |problem| UnpackError::Header { offset: start, problem };
        let (mut text, mut lines, mut wanted) = (Vec::new(), 0, None);
        loop {
            if self.remaining < 512 || text.len() >= MAX_SPARSE_MAP {
                return Err(at(HeaderProblem::Sparse));
            }
            let block = self.block()?.ok_or(UnpackError::Truncated { offset: self.position })?;
            self.remaining -= 512;
            lines += block.iter().filter(|&&b| b == b'\n').count();
            text.extend_from_slice(&block);
            if wanted.is_none() && lines > 0 {
                wanted = Some(sparse::lines_in_data(&text).map_err(at)?);
            }
            if wanted.is_some_and(|wanted| lines >= wanted) {
                return sparse::parse_in_data(&text).map_err(at);
            }
        }
    }

    /// Everything after the first zero block.
    fn trailer(&mut self) -> Result<(), UnpackError> {
        let start = self.position;
        if let Some(second) = self.block()?
            && second != [0; 512]
        {
            return Err(UnpackError::Header { offset: start, problem: HeaderProblem::LoneZeroBlock });
        }
        loop {
            let available = self.source.fill_buf().map_err(UnpackError::Read)?.len();
            if available == 0 {
                return Ok(());
            }
            self.skip(available as u64)?;
            if self.position - start > MAX_TRAILER {
                return Err(UnpackError::TooMuch { what: "bytes after its end mark", limit: MAX_TRAILER });
            }
        }
    }
}

fn kind(typeflag: u8, path: &[u8]) -> Result<Kind, HeaderProblem> {
    Ok(match typeflag {
        // Before POSIX, a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(HeaderProblem::Type(char::from(other))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: usize) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for _ in 0..entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            builder.append_data(&mut header, "x", &[][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8], most: u64) -> Result<u64, UnpackError> {
        let mut reader = TarReader::new(bytes, TarLog::new(Vec::new()).unwrap());
        reader.most = most;
        while reader.next()?.is_some() {}
        Ok(reader.entries)
    }

    #[test]
    fn the_last_padding_may_be_missing() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(700);
        builder.append_data(&mut header, "x", &[b'x'; 700][..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let content = 512 + 700;
        for end in [content, content + 1, 512 + 1024] {
            assert_eq!(read(&bytes[..end], 10).unwrap(), 1, "{end}");
        }
        for end in [511, 512, content - 1, 512 + 1024 + 1] {
            let error = read(&bytes[..end], 10).unwrap_err();
            assert!(matches!(error, UnpackError::Truncated { .. }), "{end}: {error}");
        }
        // What was there comes out again.
        let mut reader = TarReader::new(&bytes[..content + 1], TarLog::new(Vec::new()).unwrap());
        while reader.next().unwrap().is_some() {}
        assert_eq!(reader.position(), content as u64 + 1);
    }

    #[test]
    fn there_is_a_limit_to_entries() {
        assert_eq!(read(&tar(10), 10).unwrap(), 10);
        let error = read(&tar(11), 10).unwrap_err().to_string();
        assert!(error.contains("more than 10 entries"), "{error}");
    }

    #[test]
    fn there_is_a_limit_to_what_follows_the_end() {
        let mut bytes = tar(1);
        bytes.resize(MAX_TRAILER as usize, 0);
        assert_eq!(read(&bytes, 10).unwrap(), 1);
        bytes.resize(MAX_TRAILER as usize + 4096, 0);
        let error = read(&bytes, 10).unwrap_err().to_string();
        assert!(error.contains("after its end mark"), "{error}");
    }
}
