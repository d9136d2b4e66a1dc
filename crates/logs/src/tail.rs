//! Where the last lines of a log begin.

use std::io;
use std::path::Path;

use crate::backward::Backward;
use crate::files::Held;
use crate::record::Stream;
use crate::settings::Format;

/// How far before the last lines the beginning of one of them is looked for, in bytes.
const FAR: u64 = 1 << 20;

/// A place in a log: the number of its file in the order in which they were made, and the offset there.
pub(crate) type Place = (usize, u64);

/// Where the last lines begin.
#[derive(Debug)]
pub(crate) struct Start {
    /// The first record of any of them.
    pub(crate) at: Place,
    /// The first record of standard output, of standard error. What is before in that stream is of an earlier line.
    pub(crate) streams: [Option<Place>; 2],
}

/// What is known of a stream when it is read backwards.
#[derive(Clone, Copy, Default)]
struct Line {
    /// The first record so far of a wanted line.
    first: Option<Place>,
    /// What comes before in this stream belongs to the same line, if it is only part of one.
    is_open: bool,
}

/// Finds the last `wanted` lines of all that `files` (the oldest first) hold.
///
/// A line is counted where it ends: the parts it was written in count as one. One that has no end yet counts, too, as it does
/// for the peers: it is shown as a line.
pub(crate) fn start(path: &Path, format: Format, files: &mut [Held], wanted: usize) -> io::Result<Start> {
    // The newest one is not compressed.
    let end = (files.len().saturating_sub(1), files.last().map_or(0, |f| f.len));
    let (mut lines, mut streams, mut at) = (0, [Line::default(); 2], end);
    let mut beyond = 0;
    'files: for (number, held) in files.iter_mut().enumerate().rev() {
        held.unpack(path)?;
        let mut reader = Backward::new(&held.file, held.len);
        let mut last = held.len;
        while let Some((offset, text)) = reader.previous_line()? {
            let is_complete = lines == wanted;
            beyond += if is_complete { last.saturating_sub(offset) } else { 0 };
            last = offset;
            if is_complete && (beyond > FAR || !streams.iter().any(|s| s.is_open)) {
                break 'files;
            }
            let Some(record) = format.parse(&text) else { continue };
            let stream = &mut streams[record.stream as usize];
            // The stream's last record ends a line, whatever it says.
            if !record.partial || stream.first.is_none() {
                stream.is_open = !is_complete;
                lines += usize::from(!is_complete);
            }
            let place = (number, offset);
            if stream.is_open {
                stream.first = Some(place);
                at = at.min(place);
            } else if stream.first.is_none() {
                // None of this stream is wanted so far; this one is not, either.
                stream.first = Some((number, offset + 1));
            }
        }
    }
    Ok(Start { at, streams: streams.map(|s| s.first) })
}

/// The stream's place in arrays of both.
pub(crate) fn is_before(start: &Start, stream: Stream, place: Place) -> bool {
    start.streams[stream as usize].is_some_and(|first| place < first)
}
