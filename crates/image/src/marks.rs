//! What is known of a blob that is on its way, in case it must be sent again from somewhere in it.
//!
//! What a registry has of an upload that broke off need not be read again to be verified: digests so far are kept, every few MiB.

use loment_store::Hasher;

/// Least bytes between two marks, which take some 200 bytes each.
const STEP: u64 = 4 << 20;
/// Most marks of a blob.
const MOST: u64 = 1024;

/// The digests of a blob's beginnings, as they were read.
pub(crate) struct Marks {
    step: u64,
    /// Of one step, of two, and so on.
    known: Vec<Hasher>,
}

impl Marks {
    /// None yet, for a blob of that many bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { step: STEP.max(size / MOST), known: Vec::new() }
    }

    /// The last one that is not behind a byte; 0 when there is none.
    pub(crate) fn before(&self, position: u64) -> u64 {
        (position / self.step).min(self.known.len() as u64) * self.step
    }

    /// Goes on from a mark: those behind it are forgotten, as other bytes may come now. `None` at the start.
    pub(crate) fn go_on(&mut self, from: u64) -> Option<Hasher> {
        self.known.truncate(usize::try_from(from / self.step).unwrap_or(usize::MAX));
        self.known.last().cloned()
    }

    /// Hashes the next bytes, of which the first is at `position`.
    pub(crate) fn update(&mut self, hasher: &mut Hasher, position: u64, mut bytes: &[u8]) {
        let next = (self.known.len() as u64 + 1).saturating_mul(self.step);
        let mut left = next.saturating_sub(position);
        while let Some((before, behind)) =
            usize::try_from(left).ok().and_then(|left| bytes.split_at_checked(left))
        {
            hasher.update(before);
            self.known.push(hasher.clone());
            (bytes, left) = (behind, self.step);
        }
        hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loment_store::{Algorithm, sha256};

    #[test]
    fn a_digest_goes_on_from_a_mark() {
        let bytes: Vec<u8> = (0..(STEP as usize * 3 + 5)).map(|i| (i % 251) as u8).collect();
        let mut marks = Marks::new(bytes.len() as u64);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut position = 0;
        for piece in bytes[..STEP as usize * 2 + 1].chunks(1_000_003) {
            marks.update(&mut hasher, position, piece);
            position += piece.len() as u64;
        }
        assert_eq!(marks.before(STEP - 1), 0);
        assert_eq!(marks.before(STEP * 2 - 1), STEP);
        assert_eq!(marks.before(u64::MAX), STEP * 2);
        for from in [STEP * 2, STEP] {
            let mut hasher = marks.go_on(from).unwrap();
            marks.update(&mut hasher, from, &bytes[from as usize..]);
            assert_eq!(hasher.finish(), sha256(&bytes));
            assert_eq!(marks.before(u64::MAX), STEP * 3);
        }
        assert!(marks.go_on(0).is_none());
        assert_eq!(marks.before(u64::MAX), 0);
    }
}
