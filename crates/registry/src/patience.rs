//! How long is waited for a list, over all its pages and tries.

use std::time::{Duration, Instant};

use hyper::HeaderMap;

use crate::cancel::Cancel;
use crate::client::{Call, Client};
use crate::error::Error;

/// What is left of [`Timeouts::list`](crate::Timeouts::list). The time that whoever reads the list takes between pages does not count.
pub(crate) struct Patience {
    limit: Duration,
    waited: Duration,
}

impl Patience {
    pub(crate) fn new(client: &Client) -> Self {
        Self { limit: client.options.timeouts.list, waited: Duration::ZERO }
    }

    /// A page, as [`Client::document`] has it.
    ///
    /// # Errors
    /// Those of it, and [`Error::SlowList`].
    pub(crate) fn document(
        &mut self,
        client: &Client,
        call: &Call,
        max: usize,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let start = Instant::now();
        let cancel = Cancel::at(start + self.limit.saturating_sub(self.waited));
        let outcome = client.document(&Call { cancel, ..call.clone() }, max);
        self.waited += start.elapsed();
        match outcome {
            Err(Error::Cancelled) => {
                let (object, host) = (call.object.clone(), client.host.name.clone());
                Err(Error::SlowList { object, host, over: self.limit })
            }
            outcome => outcome,
        }
    }
}
