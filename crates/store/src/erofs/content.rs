//! Content of one regular file, from front to back.

use std::io;

use rustix::io::Errno;

use super::format::{BLOCK_SIZE, NO_BLOCK};
use super::out::Out;
use super::write::block_number;

/// Files from this size on are searched for zeros; smaller ones gain nothing from holes.
const HOLES_FROM: u64 = 128 * 1024;
/// In files that do not say where their holes are, zeros are looked for in pieces of this size.
const CHUNK: u64 = 32 * 1024;
/// Most chunks of a file: the list of them stands in memory and after the inode.
const MAX_CHUNKS: u64 = 64 * 1024;
/// A file can be as large as the image could, 16 TiB; what other file systems hold is of the same order.
const MAX_SIZE: u64 = 1 << 44;

/// Where bytes of the tar went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Extent {
        offset: u64,
        count: u64,
    },
    /// Nowhere: they were zeros.
    Zeros {
        count: u64,
    },
}

/// How content was stored.
pub(super) enum Stored {
    /// In blocks from this one on.
    Blocks(u32),
    /// The same, but for the last part, less than a block, which is still to be written.
    Tail { block: u32, tail: Vec<u8> },
    /// In chunks of `1 << bits` bytes.
    Chunks { bits: u32, table: Vec<u32> },
}

/// Content on its way into the image. Between two files the image's position is at a block.
pub(super) struct Content {
    size: u64,
    /// Bytes of the file so far, gaps included.
    at: u64,
    form: Form,
    /// Where the bytes went since this was last emptied; the last part of a small file is not in it.
    pub(super) pieces: Vec<Piece>,
}

enum Form {
    /// Whole blocks in one run, the rest kept.
    Run { start: u64, tail: Vec<u8> },
    /// Chunks get their blocks with the first byte that is not zero.
    Chunks { chunk: u64, table: Vec<u32>, current: Option<u64> },
}

impl Content {
    pub(super) fn new(size: u64, sparse: bool, start: u64) -> io::Result<Self> {
        if size > MAX_SIZE {
            return Err(Errno::FBIG.into());
        }
        let form = if sparse || size >= HOLES_FROM {
            let mut chunk = if sparse { BLOCK_SIZE } else { CHUNK };
            while size.div_ceil(chunk) > MAX_CHUNKS {
                chunk *= 2;
            }
            Form::Chunks { chunk, table: Vec::new(), current: None }
        } else {
            Form::Run { start, tail: Vec::new() }
        };
        Ok(Self { size, at: 0, form, pieces: Vec::new() })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Goes on at `offset`, which is not behind; only for files with gaps.
    pub(super) fn seek(&mut self, offset: u64) {
        self.at = self.at.max(offset);
    }

    pub(super) fn write(&mut self, out: &mut Out, bytes: &[u8]) -> io::Result<()> {
        match &mut self.form {
            Form::Run { start, tail } => {
                let left = (self.size - self.size % BLOCK_SIZE).saturating_sub(self.at);
                let (whole, rest) =
                    bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                out.write(whole)?;
                tail.extend_from_slice(rest);
                if !whole.is_empty() {
                    add(
                        &mut self.pieces,
                        Piece::Extent { offset: *start + self.at, count: whole.len() as u64 },
                    );
                }
                self.at += bytes.len() as u64;
                Ok(())
            }
            Form::Chunks { .. } => self.write_chunks(out, bytes),
        }
    }

    fn write_chunks(&mut self, out: &mut Out, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.reach(out, self.at)?;
            let Form::Chunks { chunk, table, current } = &mut self.form else { return Ok(()) };
            let start = table.len() as u64 * *chunk;
            let left = usize::try_from(start + *chunk - self.at).unwrap_or(usize::MAX);
            let (mut now, later) = bytes.split_at(bytes.len().min(left));
            if current.is_none() {
                let zeros = leading_zeros(now);
                now = &now[zeros..];
                self.at += zeros as u64;
                if zeros > 0 {
                    add(&mut self.pieces, Piece::Zeros { count: zeros as u64 });
                }
            }
            if !now.is_empty() {
                let base = *current.get_or_insert(out.position());
                let offset = base + (self.at - start);
                out.zeros_to(offset)?;
                out.write(now)?;
                self.at += now.len() as u64;
                add(&mut self.pieces, Piece::Extent { offset, count: now.len() as u64 });
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the chunks that lie before `offset` of the file.
    fn reach(&mut self, out: &mut Out, offset: u64) -> io::Result<()> {
        let Form::Chunks { chunk, table, current } = &mut self.form else { return Ok(()) };
        loop {
            let start = table.len() as u64 * *chunk;
            let end = (start + *chunk).min(self.size);
            if end > offset || start >= self.size {
                return Ok(());
            }
            table.push(match current.take() {
                Some(base) => {
                    out.zeros_to(base + (end - start).next_multiple_of(BLOCK_SIZE))?;
                    block_number(base)
                }
                None => NO_BLOCK,
            });
        }
    }

    /// Ends the file; what is missing reads as zeros.
    pub(super) fn finish(mut self, out: &mut Out) -> io::Result<Stored> {
        self.reach(out, self.size)?;
        Ok(match self.form {
            Form::Run { start, tail } => Stored::Tail { block: block_number(start), tail },
            // Without a hole the chunks are one run.
            Form::Chunks { table, .. } if !table.contains(&NO_BLOCK) => {
                Stored::Blocks(table.first().copied().unwrap_or(0))
            }
            Form::Chunks { chunk, table, .. } => Stored::Chunks { bits: chunk.trailing_zeros(), table },
        })
    }
}

/// Adds a piece; one that continues the last makes it longer.
fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Extent { offset, count }), Piece::Extent { offset: next, count: more })
            if *offset + *count == next =>
        {
            *count += more;
        }
        (Some(Piece::Zeros { count }), Piece::Zeros { count: more }) => *count += more,
        _ => pieces.push(piece),
    }
}

fn leading_zeros(bytes: &[u8]) -> usize {
    // Groups let the compiler use wide registers; data almost always ends the search in the first one.
    let groups = bytes.chunks(64).take_while(|group| group.iter().fold(0, |all, byte| all | byte) == 0);
    let zeros: usize = groups.map(<[u8]>::len).sum();
    zeros + bytes[zeros..].iter().take_while(|&&b| b == 0).count()
}
