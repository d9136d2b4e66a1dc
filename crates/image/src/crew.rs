//! Blobs on their way, several at a time.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use oci_spec::image::Descriptor;

use crate::error::Error;
use crate::pull::{LayerState, Progress};

/// What one of a crew works with.
pub(crate) struct Hand<'h> {
    /// Set when another one has failed.
    pub(crate) cancelled: &'h AtomicBool,
    /// Told how many more bytes have come.
    pub(crate) moved: &'h (dyn Fn(u64) + Sync),
}

/// What was to be done about a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its bytes had to be moved.
    Moved,
    /// It was there.
    There,
    /// It stays where its manifest says it is.
    Elsewhere,
}

impl Outcome {
    pub(crate) fn of(moved: bool) -> Self {
        if moved { Self::Moved } else { Self::There }
    }
}

/// Does one blob.
type Work<'w, T> = &'w (dyn Fn(usize, &Hand<'_>) -> Result<(T, Outcome), Error> + Sync);

enum Event<T> {
    Moved(u64),
    Ended(Result<(T, Outcome), Error>),
}

/// Does all blobs, `parallel` at a time: what became of each, in their order, and how many had to be moved. After a failure none is
/// begun any more, and `cancel` is to end what others wait for.
///
/// # Errors
/// The first failure.
pub(crate) fn run<T: Send>(
    blobs: &[Descriptor],
    parallel: usize,
    progress: &mut dyn Progress,
    cancel: &(dyn Fn() + Sync),
    work: Work<'_, T>,
) -> Result<(Vec<T>, usize), Error> {
    let queue = Mutex::new((0..blobs.len()).collect::<VecDeque<_>>());
    let cancelled = AtomicBool::new(false);
    let (events, incoming) = channel();
    let mut all: Vec<Option<T>> = blobs.iter().map(|_| None).collect();
    let (mut moved, mut failure) = (0, None);
    thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, blobs.len().max(1)) {
            let events = events.clone();
            let (queue, cancelled) = (&queue, &cancelled);
            scope.spawn(move || {
                if worker(queue, cancelled, &events, work).is_err() {
                    cancelled.store(true, Ordering::Relaxed);
                    cancel();
                }
            });
        }
        drop(events);
        let mut done = vec![0; blobs.len()];
        for (index, event) in incoming {
            let state = match event {
                Event::Moved(count) => {
                    done[index] += count;
                    LayerState::Downloading { done: done[index] }
                }
                Event::Ended(Ok((value, outcome))) => {
                    all[index] = Some(value);
                    moved += usize::from(outcome == Outcome::Moved);
                    match outcome {
                        Outcome::Moved => LayerState::Done,
                        Outcome::There => LayerState::Exists,
                        Outcome::Elsewhere => LayerState::Elsewhere,
                    }
                }
                Event::Ended(Err(error)) => {
                    // The first cause; those cancelled because of it have nothing to add.
                    if matches!(failure, None | Some(Error::Cancelled { .. })) {
                        failure = Some(error);
                    }
                    continue;
                }
            };
            progress.layer(index, &blobs[index], state);
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok((all.into_iter().flatten().collect(), moved)),
    }
}

/// Takes blobs off the queue until it is empty or something failed; an error when it was one of these.
fn worker<T>(
    queue: &Mutex<VecDeque<usize>>,
    cancelled: &AtomicBool,
    events: &Sender<(usize, Event<T>)>,
    work: Work<'_, T>,
) -> Result<(), ()>
where
    T: Send,
{
    // The receiver outlives the workers, so sending cannot fail.
    let tell = |index, event| drop(events.send((index, event)));
    while !cancelled.load(Ordering::Relaxed) {
        let Some(index) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else { break };
        let moved = |count| tell(index, Event::Moved(count));
        let result = work(index, &Hand { cancelled, moved: &moved });
        let failed = result.is_err();
        // Before others fail because of it.
        tell(index, Event::Ended(result));
        if failed {
            return Err(());
        }
    }
    Ok(())
}
