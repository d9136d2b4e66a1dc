//! Bytes on their way from thread to thread, in large recycled pieces.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Bytes in one piece. Fewer, larger writes; still in the second-level cache when the next thread reads it.
pub(crate) const PIECE: usize = 256 * 1024;
/// Pieces that may wait between two threads where memory allows it: enough that neither stops for the other's hiccups.
pub(crate) const WAITING: usize = 8;

/// Pieces nobody uses at the moment; memory is taken from the kernel once and not for every piece.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A piece, shared by those who read it; its memory goes back to the pool with the last of them.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

enum Message {
    Piece(Arc<Piece>),
    End,
    Failed(io::Error),
}

/// The reading side went away.
pub(crate) struct Closed;

/// The writing end, to one or several readers that all get everything.
pub(crate) struct PipeWriter {
    readers: Vec<SyncSender<Message>>,
    pool: Pool,
}

/// The reading end.
pub(crate) struct PipeReader {
    messages: Receiver<Message>,
    piece: Option<Arc<Piece>>,
    taken: usize,
    ended: bool,
}

/// A pipe with `N` readers, in which so many pieces may wait.
pub(crate) fn pipe<const N: usize>(waiting: usize) -> (PipeWriter, [PipeReader; N]) {
    let mut senders = Vec::with_capacity(N);
    let readers = std::array::from_fn(|_| {
        let (sender, messages) = sync_channel(waiting);
        senders.push(sender);
        PipeReader { messages, piece: None, taken: 0, ended: false }
    });
    (PipeWriter { readers: senders, pool: Pool::default() }, readers)
}

impl PipeWriter {
    /// Fills a piece from `input` and passes it on; false at the end of the input.
    ///
    /// The piece is shown to `look` on the way.
    pub(crate) fn fill(
        &self,
        input: &mut impl Read,
        mut look: impl FnMut(&[u8]),
    ) -> io::Result<Result<bool, Closed>> {
        let mut bytes = self.pool.lock().ok().and_then(|mut pool| pool.pop()).unwrap_or_default();
        bytes.resize(PIECE, 0);
        let mut filled = 0;
        let end = loop {
            match input.read(&mut bytes[filled..]) {
                Ok(0) => break true,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if filled == PIECE {
                break false;
            }
        };
        bytes.truncate(filled);
        look(&bytes);
        Ok(self.send(bytes).map(|()| !end))
    }

    fn send(&self, bytes: Vec<u8>) -> Result<(), Closed> {
        let piece = Arc::new(Piece { bytes, pool: Arc::clone(&self.pool) });
        let sent = |reader: &SyncSender<Message>| reader.send(Message::Piece(Arc::clone(&piece))).is_ok();
        if self.readers.iter().all(sent) { Ok(()) } else { Err(Closed) }
    }

    /// Tells the readers that everything was sent. Without it they see a failure.
    pub(crate) fn end(self) {
        for reader in &self.readers {
            // A reader that went away needs no end.
            let _ = reader.send(Message::End);
        }
    }

    /// Tells the readers that no more is coming, and why; the first of them all of it, the others in words.
    pub(crate) fn fail(self, error: io::Error) {
        let (kind, text) = (error.kind(), error.to_string());
        let words = std::iter::repeat_with(|| io::Error::new(kind, text.clone()));
        for (reader, error) in self.readers.iter().zip(std::iter::once(error).chain(words)) {
            let _ = reader.send(Message::Failed(error));
        }
    }
}

/// A writing end for those who have bytes to write.
pub(crate) struct PipeSink {
    pipe: PipeWriter,
    piece: Vec<u8>,
}

impl PipeSink {
    pub(crate) fn new(pipe: PipeWriter) -> Self {
        Self { pipe, piece: Vec::with_capacity(PIECE) }
    }

    /// Tells the readers that everything was written. Without it they see a failure.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.pass_on()?;
        self.pipe.end();
        Ok(())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let mut next = self.pipe.pool.lock().ok().and_then(|mut pool| pool.pop()).unwrap_or_default();
        next.clear();
        let closed = |Closed| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pipe.send(std::mem::replace(&mut self.piece, next)).map_err(closed)
    }
}

impl Write for PipeSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.pass_on()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while !self.ended && self.piece.as_ref().is_none_or(|piece| piece.bytes.len() == self.taken) {
            (self.piece, self.taken) = (None, 0);
            match self.messages.recv() {
                Ok(Message::Piece(piece)) => self.piece = Some(piece),
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => return Err(error),
                Err(_) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the sending side gave up")),
            }
        }
        Ok(self.piece.as_ref().map_or(&[], |piece| &piece.bytes[self.taken..]))
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
