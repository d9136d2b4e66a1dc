//! Where a log reaches a moment.

use std::io;
use std::path::Path;

use crate::cursor::Cursor;
use crate::files::Held;
use crate::settings::Format;
use crate::time::Moment;

/// Fewer bytes than this are read from one end to the other.
const NEAR: u64 = 64 * 1024;

/// The file of `files` (the oldest first) in which to begin, and an offset there before which all is older than `since`.
///
/// The records are taken to be in order. Where the clock was set back they are not; then this is one of the places where it
/// passed that moment.
pub(crate) fn start(
    path: &Path,
    format: Format,
    files: &mut [Held],
    since: Moment,
) -> io::Result<(usize, u64)> {
    for (number, held) in files.iter_mut().enumerate().rev() {
        if held.said_first().is_some_and(|first| first >= since) {
            continue;
        }
        held.unpack(path)?;
        let mut cursor = Cursor::new(held.file.try_clone()?, 0, Some(held.len));
        if let Some((_, first)) = next_moment(&mut cursor, format)?
            && first < since
        {
            return Ok((number, search(&mut cursor, format, held.len, since)?));
        }
    }
    Ok((0, 0))
}

/// Where a line begins before which all of the file is older.
fn search(cursor: &mut Cursor, format: Format, len: u64, since: Moment) -> io::Result<u64> {
    let (mut low, mut high) = (0, len);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        cursor.seek(middle);
        // The rest of the line in which it is.
        cursor.next_line()?;
        match next_moment(cursor, format)? {
            Some((at, moment)) if at < high && moment < since => low = at,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn next_moment(cursor: &mut Cursor, format: Format) -> io::Result<Option<(u64, Moment)>> {
    while let Some((at, range)) = cursor.next_line()? {
        let moment = format.parse(cursor.line(range)).and_then(|r| Moment::parse(r.time.as_bytes()));
        if let Some(moment) = moment {
            return Ok(Some((at, moment)));
        }
    }
    Ok(None)
}
