//! Decompression of zstd, frame by frame: a stream may have many (RFC 8878, section 3.1), each with a window of its own.
//!
//! What a frame asks for is known before memory is taken for it, so that who shares memory with others can wait for it.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// What zstd's own levels use at the most, but for `--ultra` and `--long` (zstd(1)).
pub(crate) const USUAL_WINDOW: u64 = 8 << 20;
/// Images made with long-distance matching exist; 128 MiB is what containers/image allows.
const MAX_WINDOW_LOG: u32 = 27;
/// Bytes of a frame's header at the most (RFC 8878, section 3.1.1).
const HEADER: usize = 18;

/// A reader of the uncompressed bytes of `input`.
pub(crate) struct Frames<R, G> {
    input: R,
    grow: G,
    /// What has been granted, in bytes.
    window: u64,
    decoder: Option<Decoder<'static>>,
    /// The beginning of a frame, and how much of it the decoder has.
    head: Vec<u8>,
    taken: usize,
    in_frame: bool,
}

impl<R: BufRead, G: FnMut(u64) -> io::Result<()>> Frames<R, G> {
    /// `grow` is asked before so many bytes are kept, instead of what was kept before.
    pub(crate) fn new(input: R, grow: G) -> Self {
        let head = Vec::with_capacity(HEADER);
        Self { input, grow, window: 0, decoder: None, head, taken: 0, in_frame: false }
    }

    /// Looks at the next frame and makes room for it; `false` when there is none.
    fn begin(&mut self) -> io::Result<bool> {
        // A short frame ends in what was looked at.
        self.head.drain(..self.taken);
        self.taken = 0;
        while self.head.len() < HEADER {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(HEADER - self.head.len());
            self.head.extend_from_slice(&bytes[..count]);
            self.input.consume(count);
        }
        if self.head.is_empty() {
            return Ok(false);
        }
        let window = window(&self.head).unwrap_or_default().max(USUAL_WINDOW);
        if window > self.window || self.decoder.is_none() {
            // Its memory first: what is granted is instead of it.
            self.decoder = None;
            if window <= 1 << MAX_WINDOW_LOG {
                (self.grow)(window)?;
            }
            let mut decoder = Decoder::new()?;
            // A larger one is refused by the decoder, in its words.
            let log = window.min(1 << MAX_WINDOW_LOG).next_power_of_two().ilog2();
            decoder.set_parameter(DParameter::WindowLogMax(log))?;
            (self.decoder, self.window) = (Some(decoder), window);
        }
        self.in_frame = true;
        Ok(true)
    }
}

impl<R: BufRead, G: FnMut(u64) -> io::Result<()>> Read for Frames<R, G> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        // Each turn moves bytes, or the decoder says that it makes no progress.
        loop {
            if !self.in_frame && !self.begin()? {
                return Ok(0);
            }
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let looked_at = self.head.get(self.taken..).filter(|rest| !rest.is_empty());
            let bytes = match looked_at {
                Some(rest) => rest,
                None => self.input.fill_buf()?,
            };
            let (mut from, mut to) = (InBuffer::around(bytes), OutBuffer::around(&mut *out));
            let missing = decoder.run(&mut from, &mut to)?;
            let (read, written, is_end) = (from.pos(), to.pos(), bytes.is_empty());
            if looked_at.is_some() {
                self.taken += read;
            } else {
                self.input.consume(read);
            }
            self.in_frame = missing != 0;
            if written > 0 {
                return Ok(written);
            }
            if is_end && self.in_frame {
                let message = "the compressed data ends in the middle of a frame";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
    }
}

/// The window that a frame asks for (RFC 8878, section 3.1.1.1); none for what is to be skipped, and for what is no frame.
fn window(start: &[u8]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = start else { return None };
    if descriptor & 0x20 == 0 {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // One segment: the window is the content.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary..)?;
    let number = |n: usize| {
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(size.get(..n)?);
        Some(u64::from_le_bytes(bytes))
    };
    match descriptor >> 6 {
        0 => number(1),
        1 => number(2).map(|n| n + 256),
        2 => number(4),
        _ => number(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut noise = 1_u32;
        let next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn long(bytes: &[u8], log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        io::copy(&mut &bytes[..], &mut encoder).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes out, and what was asked for on the way, when the input comes in pieces of `piece` bytes.
    fn read(input: &[u8], piece: usize) -> (io::Result<Vec<u8>>, Vec<u64>) {
        let (mut out, mut asked) = (Vec::new(), Vec::new());
        let input = io::BufReader::with_capacity(piece, input);
        let grow = |window| {
            asked.push(window);
            Ok(())
        };
        let result = Frames::new(input, grow).read_to_end(&mut out);
        (result.map(|_| out), asked)
    }

    #[test]
    fn windows_are_read_from_frames() {
        let bytes = noise(300);
        assert_eq!(window(&long(&bytes, 25)), Some(32 << 20));
        assert_eq!(window(&zstd::bulk::compress(&bytes, 3).unwrap()), Some(300));
        assert_eq!(window(b"\x50\x2a\x4d\x18\x03\0\0\0abc"), None);
        assert_eq!(window(b"\x28\xb5\x2f\xfd"), None);
    }

    #[test]
    fn each_frame_has_the_window_it_asks_for() {
        let bytes = noise(3 << 20);
        let skipped = &b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..];
        let nothing = &b"\x5f\x2a\x4d\x18\0\0\0\0"[..];
        let small = zstd::bulk::compress(&bytes[..300], 3).unwrap();
        let empty = zstd::bulk::compress(&[], 3).unwrap();
        let all = [skipped, &small, nothing, &long(&bytes, 25), &empty, &small, &long(&bytes, 27), skipped]
            .concat();
        let whole = [&bytes[..300], &bytes, &bytes[..300], &bytes].concat();
        for piece in [1, 7, 4096, 1 << 20] {
            let (out, asked) = read(&all, piece);
            assert!(out.unwrap() == whole, "in pieces of {piece}");
            assert_eq!(asked, [USUAL_WINDOW, 32 << 20, 128 << 20]);
        }
    }

    #[test]
    fn what_is_no_stream_of_frames_is_refused() {
        let frame = zstd::bulk::compress(&noise(70_000), 3).unwrap();
        let (kind, too_large) = (|input: &[u8]| read(input, 512).0.map_err(|e| e.kind()), long(b"abc", 28));
        for length in [1, 4, 7, 17, 18, 19, frame.len() - 1] {
            assert_eq!(kind(&frame[..length]), Err(io::ErrorKind::UnexpectedEof), "{length} bytes");
        }
        assert!(kind(&[&frame[..], b"more"].concat()).is_err());
        let (out, asked) = read(&too_large, 512);
        assert!(out.is_err() && asked.is_empty());
        assert_eq!(kind(b"").unwrap(), b"");
        // One segment of all that a number can say.
        let endless = [&b"\x28\xb5\x2f\xfd\xff\x57\x65\0\x35"[..], &[0xff; 8]].concat();
        assert!(kind(&endless).is_err());
    }

    #[test]
    fn who_gets_no_memory_stops() {
        let frame = zstd::bulk::compress(b"abc", 3).unwrap();
        let refused = |_| Err(io::Error::other("no"));
        assert!(Frames::new(&frame[..], refused).read_to_end(&mut Vec::new()).is_err());
    }
}
