//! Memory that the layers of an image share, so that one of many needs no more than one of few.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::pipe::{PIECE, WAITING};

/// Bytes of all layers that are on their way together. With the 15 MiB that a program needs anyway (10 of them are pages of its file),
/// this stays within the 64 MiB that are promised.
const ALL: usize = 48 << 20;
/// Of them, those of pieces between threads, and of [`FIXED`], at the most. The rest is one window of 32 MiB (`zstd --ultra -20`).
const LAYERS: usize = 16 << 20;
/// What each layer needs besides: states of hashes and decompressors, the compressor of its tar headers, buffers of its connection and
/// of its file.
const FIXED: usize = 1 << 20;
/// In the hands of those who write to a pipe and of those who read from it.
const HELD: usize = 2;

/// What the layers of one image may take.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Layers on their way at the same time, at the most.
    pub(crate) parallel: usize,
    /// Pieces that may wait in each of their pipes.
    pub(crate) waiting: usize,
    /// For what compressors and decompressors look back to: what pieces leave.
    pub(crate) windows: Budget,
}

impl Memory {
    /// Of so many layers at a time, if that can be, each with so many pipes: the more layers, the fewer pieces wait in each.
    pub(crate) fn new(parallel: usize, pipes: usize) -> Self {
        let of_layer = |waiting: usize| FIXED + pipes * (waiting + HELD) * PIECE;
        let parallel = parallel.clamp(1, LAYERS / of_layer(0));
        let waiting = ((LAYERS / parallel - of_layer(0)) / (pipes * PIECE)).min(WAITING);
        let used = parallel * of_layer(waiting);
        Self { parallel, waiting, windows: Budget::new((ALL - used) as u64) }
    }
}

/// How often somebody who waits looks whether that is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// An amount of bytes, parts of which are taken and given back.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    free: Mutex<u64>,
    given_back: Condvar,
}

/// A part of it, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Self {
        Self { total, free: Mutex::new(total), given_back: Condvar::new() }
    }

    /// So much, if it is free; for those who hold a share already.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Share<'_>> {
        let mut free = self.free.lock().ok()?;
        *free = free.checked_sub(bytes)?;
        Some(Share { budget: self, bytes })
    }

    /// Waits until so much is free; `None` when one of `ends` says that nobody waits for it any more. Who asks for more than there is
    /// gets all there is, and so is alone. Nobody waits for a second share while holding one: two could wait for each other.
    pub(crate) fn take(&self, bytes: u64, ends: &[&AtomicBool]) -> Option<Share<'_>> {
        let bytes = bytes.min(self.total);
        let mut free = self.free.lock().ok()?;
        while *free < bytes {
            if ends.iter().any(|end| end.load(Ordering::Relaxed)) {
                return None;
            }
            free = self.given_back.wait_timeout(free, LOOK).ok()?.0;
        }
        *free -= bytes;
        Some(Share { budget: self, bytes })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Ok(mut free) = self.budget.free.lock() {
            *free += self.bytes;
        }
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_number_of_layers_stay_within_their_limit() {
        for pipes in [1, 2] {
            for parallel in 0..100 {
                let memory = Memory::new(parallel, pipes);
                assert!((1..=parallel.max(1)).contains(&memory.parallel), "{parallel}: {memory:?}");
                assert!(memory.windows.total >= (ALL - LAYERS) as u64, "{parallel}: {memory:?}");
                assert!(parallel > 2 || memory.waiting == WAITING, "{parallel}: {memory:?}");
                assert!(parallel < 8 || memory.parallel >= 8, "{parallel}: {memory:?}");
            }
        }
    }

    #[test]
    fn there_is_never_more_than_the_total() {
        let (budget, wanted) = (Budget::new(10), AtomicBool::new(false));
        let used = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (budget, wanted, used) = (&budget, &wanted, &used);
                scope.spawn(move || {
                    for j in 0..50 {
                        let bytes = (i * 7 + j) % 13;
                        let share = budget.take(bytes, &[wanted]).unwrap();
                        let most = {
                            let mut used = used.lock().unwrap();
                            used.0 += share.bytes;
                            used.1 = used.0.max(used.1);
                            used.1
                        };
                        assert!(most <= 10);
                        used.lock().unwrap().0 -= share.bytes;
                    }
                });
            }
        });
        assert_eq!(*budget.free.lock().unwrap(), 10);
    }

    #[test]
    fn nobody_waits_for_what_is_not_wanted() {
        let (budget, cancelled) = (Budget::new(10), AtomicBool::new(true));
        let _all = budget.take(100, &[&cancelled]).unwrap();
        assert!(budget.take(1, &[&AtomicBool::new(false), &cancelled]).is_none());
    }
}
