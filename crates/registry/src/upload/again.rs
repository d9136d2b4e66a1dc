//! After an interruption: waiting, and finding out where an upload goes on.

use std::sync::Arc;

use hyper::Method;

use super::{Upload, is_misplaced, received};
use crate::error::{Error, Problem};

/// Bytes the registry must have more of than ever before for earlier failures to be forgotten.
const PROGRESS: u64 = 1 << 20;

/// How an upload goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Where the registry stands.
    There,
    /// As a new one.
    Anew,
}

impl Upload {
    /// After an error of [`send`](Self::send) or [`finish`](Self::finish): waits as long as the registry wishes, or ever
    /// longer, and says from which byte on the blob is to be sent again: where the registry stands, or 0, when it knows
    /// nothing of the upload any more or refuses what it has put together.
    ///
    /// This ends after as many failures as [`Retry::tries`](crate::Retry::tries) without 1 MiB of progress.
    ///
    /// # Errors
    /// `cause`, when it will not pass or has not passed; what hinders a new upload.
    pub fn recover(&mut self, cause: Error) -> Result<u64, Error> {
        let Some(mut way) = self.way_on(&cause) else { return Err(cause) };
        let mut wish = cause.wait();
        loop {
            self.failures += 1;
            if self.failures >= self.client().options.retry.tries {
                return Err(cause);
            }
            self.client().wait(self.failures, wish)?;
            let found = match way {
                Way::There => self.ask(),
                Way::Anew => self.begin_anew(),
            };
            let Err(error) = found else { break };
            wish = error.wait();
            match way {
                _ if may_pass(&error) => {}
                // Not every registry tells.
                Way::There => way = Way::Anew,
                Way::Anew => return Err(error),
            }
        }
        if self.offset >= self.reached.saturating_add(PROGRESS) {
            (self.reached, self.failures) = (self.offset, 0);
        }
        Ok(self.offset)
    }

    fn way_on(&self, cause: &Error) -> Option<Way> {
        match cause {
            // It was put together of several requests; what is wrong with it may have gone wrong on the way.
            Error::Status { status: 400, .. } if self.finishing && self.resumed => Some(Way::Anew),
            Error::Missing { .. } | Error::Protocol { problem: Problem::UploadRange, .. } => Some(Way::Anew),
            // The end is asked for as often as anything else already.
            _ if self.finishing => None,
            Error::Interrupted { .. } => Some(Way::There),
            cause if may_pass(cause) || is_misplaced(cause) => Some(Way::There),
            _ => None,
        }
    }

    /// Asks once what the registry has.
    fn ask(&mut self) -> Result<(), Error> {
        let call = self.call(Method::GET);
        let client = Arc::clone(self.client());
        let mut lane = client.lane()?;
        let exchange = client.call_once(&mut lane, &call)?;
        let exchange = self.accepted(&call, exchange, &mut lane)?;
        let offset = received(&exchange.head.headers);
        lane.drain(exchange);
        client.put_back(lane);
        let sound = offset.filter(|offset| *offset <= self.sent);
        self.offset = sound.ok_or_else(|| self.problem(Problem::UploadRange))?;
        (self.interrupted, self.resumed) = (false, true);
        Ok(())
    }

    /// The registry tidies up what it has of the old one.
    fn begin_anew(&mut self) -> Result<(), Error> {
        let (failures, reached) = (self.failures, self.reached);
        *self = Self { failures, reached, ..self.registry.upload(&self.repository)? };
        Ok(())
    }
}

/// Whether a registry that answered before may do so again soon: it may be starting anew.
fn may_pass(error: &Error) -> bool {
    error.is_transient() || matches!(error, Error::Unreachable { .. })
}
