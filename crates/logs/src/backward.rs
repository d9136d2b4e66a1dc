//! Reading one file backwards, line by line.

use std::fs::File;
use std::io;
use std::ops::Range;

use memchr::memrchr;

use crate::LONGEST;
use crate::cursor::read_at;

/// How much is read at once, in bytes.
const BLOCK: u64 = 64 * 1024;

/// A place in a file, from which lines are read towards the beginning.
#[derive(Debug)]
pub(crate) struct Backward<'f> {
    file: &'f File,
    /// Where in the file the buffer begins.
    offset: u64,
    /// What was read and not yet given away.
    buffer: Vec<u8>,
    /// The buffer ends where a line does. Not so after the end of the file, and inside of what is too long for a record.
    whole: bool,
}

impl<'f> Backward<'f> {
    /// Reads what is before `end`.
    pub(crate) fn new(file: &'f File, end: u64) -> Self {
        Self { file, offset: end, buffer: Vec::new(), whole: false }
    }

    /// The line before: where it begins in the file, and its text.
    pub(crate) fn previous_line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let text = self.buffer.len().saturating_sub(usize::from(self.whole));
            if let Some(end) = memrchr(b'\n', &self.buffer[..text]) {
                let (at, line) = (self.offset + end as u64 + 1, self.take(end + 1..text));
                if let Some(line) = line {
                    return Ok(Some((at, line)));
                }
            } else if self.offset == 0 {
                let line = self.take(0..text);
                self.whole = false;
                return Ok(line.map(|line| (0, line)));
            } else {
                self.refill()?;
            }
        }
    }

    /// Cuts the last line off; `None` for what is none.
    fn take(&mut self, range: Range<usize>) -> Option<Vec<u8>> {
        let line = self.whole.then(|| self.buffer[range.clone()].to_vec());
        self.buffer.truncate(range.start);
        self.whole = true;
        line
    }

    /// Reads the block before.
    fn refill(&mut self) -> io::Result<()> {
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
            self.whole = false;
        }
        let len = self.offset.min(BLOCK);
        let mut block = vec![0; len as usize];
        // A file that became shorter has nothing there.
        let read = read_at(self.file, &mut block, self.offset - len)?;
        if read < block.len() {
            block.truncate(read);
            (self.buffer, self.whole) = (Vec::new(), false);
        }
        block.append(&mut self.buffer);
        self.buffer = block;
        self.offset -= len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn backwards(content: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut reader = Backward::new(&file, content.len() as u64);
        std::iter::from_fn(|| reader.previous_line().unwrap()).collect()
    }

    #[test]
    fn only_what_has_an_end_is_a_line() {
        assert_eq!(backwards(b"a\n\nbc\nd"), [(3, b"bc".to_vec()), (2, vec![]), (0, b"a".to_vec())]);
        assert_eq!(backwards(b""), []);
        assert_eq!(backwards(b"no end"), []);
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let long = vec![b'x'; 3 * LONGEST];
        let content = [b"a\n", &long[..], b"\nb\n", &long[..]].concat();
        let lines: Vec<_> = backwards(&content).into_iter().map(|(_, l)| l).collect();
        assert_eq!(lines, [b"b", b"a"]);
    }

    proptest! {
        #[test]
        fn lines_are_those_read_forwards(lines in prop::collection::vec(0_usize..40_000, 0..20)) {
            let content: Vec<u8> = lines.iter().flat_map(|&n| [vec![b'x'; n], vec![b'\n']].concat()).collect();
            let mut found: Vec<_> = backwards(&content).into_iter().map(|(_, l)| l.len()).collect();
            found.reverse();
            prop_assert_eq!(found, lines);
        }
    }
}
