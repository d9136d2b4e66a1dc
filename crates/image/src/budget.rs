//! Memory that the layers of a pull share, so that an image of many needs no more than one of few.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

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

    /// Waits until so much is free; `None` when it is no longer wanted. Who asks for more than there is gets all there is, and so
    /// is alone. Nobody asks for a second share while holding one: two could wait for each other.
    pub(crate) fn take(&self, bytes: u64, cancelled: &AtomicBool) -> Option<Share<'_>> {
        let bytes = bytes.min(self.total);
        let mut free = self.free.lock().ok()?;
        while *free < bytes {
            if cancelled.load(Ordering::Relaxed) {
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
    fn there_is_never_more_than_the_total() {
        let (budget, wanted) = (Budget::new(10), AtomicBool::new(false));
        let used = Mutex::new((0, 0));
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (budget, wanted, used) = (&budget, &wanted, &used);
                scope.spawn(move || {
                    for j in 0..50 {
                        let bytes = (i * 7 + j) % 13;
                        let share = budget.take(bytes, wanted).unwrap();
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
        let _all = budget.take(100, &cancelled).unwrap();
        assert!(budget.take(1, &cancelled).is_none());
    }
}
