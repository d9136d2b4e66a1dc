//! Ending waits from another thread.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout_at;

/// Ends what a [`Registry`](crate::Registry) waits for, be it an answer, bytes of a blob, or the time for another attempt: each call
/// then fails with [`Error::Cancelled`](crate::Error::Cancelled), now and later. Clones are the same.
#[derive(Clone)]
pub struct Cancel(How);

#[derive(Clone)]
enum How {
    Never,
    /// By itself, at a moment.
    At(Instant),
    Shared(Arc<Shared>),
}

#[derive(Default)]
struct Shared {
    is_set: AtomicBool,
    told: Notify,
}

impl Cancel {
    /// One that is not set.
    #[expect(clippy::new_without_default, reason = "it is something to be shared, not a value")]
    pub fn new() -> Self {
        Self(How::Shared(Arc::default()))
    }

    /// One that nobody can set.
    pub(crate) fn never() -> Self {
        Self(How::Never)
    }

    /// One that is set at a moment, and by nobody.
    pub(crate) fn at(moment: Instant) -> Self {
        Self(How::At(moment))
    }

    /// Sets it. There is no way back.
    pub fn cancel(&self) {
        if let How::Shared(shared) = &self.0 {
            shared.is_set.store(true, Ordering::SeqCst);
            shared.told.notify_waiters();
        }
    }

    /// What comes of `work`; `None` when this is set first.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let shared = match &self.0 {
            How::Never => return Some(work.await),
            How::At(moment) => return timeout_at((*moment).into(), work).await.ok(),
            How::Shared(shared) => shared,
        };
        // Made before it is looked whether it is set, so that it hears of it if not.
        let mut told = pin!(async {
            let told = shared.told.notified();
            if !shared.is_set.load(Ordering::SeqCst) {
                told.await;
            }
        });
        let mut work = pin!(async { Some(work.await) });
        poll_fn(|context| match told.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(context),
        })
        .await
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_set = match &self.0 {
            How::Never => false,
            How::At(moment) => *moment <= Instant::now(),
            How::Shared(shared) => shared.is_set.load(Ordering::SeqCst),
        };
        f.debug_struct("Cancel").field("is_set", &is_set).finish()
    }
}
