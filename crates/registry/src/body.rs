//! The body of a request: bytes at hand, or what a reader delivers while it is sent.
//!
//! The connection's task owns the [`Payload`]; the lane's owner reads, and hands over a piece whenever there is
//! room for one. Both run on the owner's thread, so a reader need not be `Send` nor live for ever, and one that
//! blocks keeps nobody else waiting.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::error::Error;

/// Bytes handed over at a time. Each piece has the idle timeout to leave in: 1.1 KiB/s when that is 60 s.
const PIECE: usize = 64 << 10;

/// Where pieces are put; `None` is the end, unless the length was known. Dropped before the end, the connection
/// breaks: the peer must not take a part for the whole.
pub(crate) type Feed = mpsc::Sender<Option<Bytes>>;

/// The connection's side.
pub(crate) struct Payload {
    pieces: Option<mpsc::Receiver<Option<Bytes>>>,
    /// Bytes to come, when known.
    left: Option<u64>,
}

impl Payload {
    /// A body of `length` bytes, if that is known; no feed when it is empty.
    pub(crate) fn new(length: Option<u64>) -> (Self, Option<Feed>) {
        if length == Some(0) {
            return (Self { pieces: None, left: Some(0) }, None);
        }
        let (feed, pieces) = mpsc::channel(1);
        (Self { pieces: Some(pieces), left: length }, Some(feed))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        Poll::Ready(match ready!(pieces.poll_recv(context)) {
            Some(Some(piece)) => {
                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                Some(Ok(Frame::data(piece)))
            }
            Some(None) => {
                self.pieces = None;
                None
            }
            None if self.left == Some(0) => None,
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The owner's side: what is to be sent.
pub(crate) enum Source<'r> {
    /// Can be sent as often as need be.
    Bytes { all: Bytes, position: usize },
    /// Can be sent once.
    Reader {
        from: &'r mut dyn Read,
        /// Bytes to be sent, when known; never more.
        length: Option<u64>,
        /// Bytes read.
        count: u64,
        /// The first piece, until the second: enough to send again what a stale connection swallowed.
        first: Option<Bytes>,
        /// Whether `first` comes next.
        again: bool,
    },
}

impl<'r> Source<'r> {
    pub(crate) fn bytes(all: Bytes) -> Self {
        Self::Bytes { all, position: 0 }
    }

    pub(crate) fn reader(from: &'r mut dyn Read, length: Option<u64>) -> Self {
        Self::Reader { from, length, count: 0, first: None, again: false }
    }

    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes { all, .. } => Some(all.len() as u64),
            Self::Reader { length, .. } => *length,
        }
    }

    /// Whether all of it can be sent again.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Bytes { .. })
    }

    /// Bytes handed out, or to be handed out again.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Bytes { position, .. } => *position as u64,
            Self::Reader { count, .. } => *count,
        }
    }

    /// Whether all of a known length was handed out.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Bytes { all, position } => *position == all.len(),
            Self::Reader { length, count, again, .. } => !again && *length == Some(*count),
        }
    }

    /// Back to the start, if that is possible.
    pub(crate) fn rewind(&mut self) -> bool {
        match self {
            Self::Bytes { position, .. } => {
                *position = 0;
                true
            }
            Self::Reader { count, first, again, .. } => {
                *again = first.is_some();
                *count == 0 || *again
            }
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Source`], also when the reader ends before the announced length.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Bytes { all, position } => {
                let start = *position;
                *position = all.len().min(start + PIECE);
                Ok((start < *position).then(|| all.slice(start..*position)))
            }
            Self::Reader { first, again, .. } if *again => {
                *again = false;
                Ok(first.clone())
            }
            Self::Reader { from, length, count, first, .. } => {
                let left = length.map_or(u64::MAX, |length| length - *count);
                let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
                let filled = fill(from, &mut piece).map_err(Error::Source)?;
                if filled < piece.len() && length.is_some() {
                    return Err(Error::Source(io::ErrorKind::UnexpectedEof.into()));
                }
                piece.truncate(filled);
                let piece = Bytes::from(piece);
                *first = (*count == 0).then(|| piece.clone());
                *count += filled as u64;
                Ok((filled > 0).then_some(piece))
            }
        }
    }
}

/// Reads until the buffer is full or the reader ends.
pub(crate) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(source: &mut Source<'_>) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        while let Some(piece) = source.next()? {
            out.extend_from_slice(&piece);
        }
        Ok(out)
    }

    #[test]
    fn a_reader_is_sent_again_only_from_its_first_piece() {
        let content: Vec<u8> = (0..PIECE * 2 + 5).map(|i| (i % 251) as u8).collect();
        let mut reader = &content[..];
        let mut source = Source::reader(&mut reader, None);
        assert!(source.rewind());
        source.next().unwrap();
        assert!(source.rewind());
        assert_eq!(rest(&mut source).unwrap(), content);
        assert!(!source.rewind());
        let mut source = Source::bytes(content.clone().into());
        assert_eq!(rest(&mut source).unwrap(), content);
        assert!(source.rewind());
        assert_eq!(rest(&mut source).unwrap(), content);
    }

    #[test]
    fn a_reader_is_held_to_its_length() {
        let read = |content: &[u8], length| rest(&mut Source::reader(&mut &content[..], Some(length)));
        assert_eq!(read(b"abcdef", 4).unwrap(), b"abcd");
        assert!(matches!(read(b"abc", 4), Err(Error::Source(_))));
        assert_eq!(read(&[7; PIECE], PIECE as u64).unwrap().len(), PIECE);
    }
}
