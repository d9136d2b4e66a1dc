//! After an interruption: waiting, and finding out where an upload goes on.

use std::sync::Arc;

use hyper::Method;

use super::{CHUNK, Upload, is_misplaced, received};
use crate::error::{Error, Problem};

/// Bytes that must have got through for earlier failures to be forgotten.
const PROGRESS: u64 = 1 << 20;
/// How often a registry may lose what it had said to have. Who is interrupted now and then sends a blob in some of them.
const MAX_LOSSES: u32 = 32;
/// Smallest chunk, unless the registry wants larger ones: below what nginx lets through by default (1 MiB).
const MIN_CHUNK: u64 = 512 << 10;

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
    /// This ends after as many failures as [`Retry::tries`](crate::Retry::tries) between which less than 1 MiB got
    /// through, and when the registry has lost too often what it had.
    ///
    /// # Errors
    /// `cause`, when it will not pass or has not passed; what hinders a new upload.
    pub fn recover(&mut self, cause: Error) -> Result<u64, Error> {
        // It was waited and asked for already.
        let mut waited = std::mem::take(&mut self.lost);
        let way = if waited { Some(Way::Anew) } else { self.way_on(&cause) };
        let Some(mut way) = way else { return Err(cause) };
        let before = self.offset;
        self.forgive();
        self.failures += 1;
        let mut wish = cause.wait();
        loop {
            if self.failures >= self.client().options.retry.tries || self.losses >= MAX_LOSSES {
                return Err(cause);
            }
            if !waited {
                self.client().wait(self.failures, wish, &self.registry.cancel)?;
            }
            let found = match way {
                Way::There => self.ask(),
                Way::Anew => self.begin_anew(),
            };
            let Err(error) = found else { break };
            wish = error.wait();
            // That it does not know is an answer, and no reason to wait again.
            waited = !error.may_pass();
            match way {
                _ if !waited => self.failures += 1,
                // Not every registry tells.
                Way::There => way = Way::Anew,
                Way::Anew => return Err(error),
            }
        }
        self.losses += u32::from(self.offset < before);
        self.forgive();
        self.begun = self.offset;
        Ok(self.offset)
    }

    /// Forgets failures when enough has got through since the last of them.
    fn forgive(&mut self) {
        if self.offset >= self.begun.saturating_add(PROGRESS) {
            self.failures = 0;
        }
    }

    /// Asks where the registry stands, after a failure of one chunk: until it answers.
    ///
    /// # Errors
    /// `cause`, or why it does not answer.
    pub(super) fn see_where(&mut self, failures: &mut u32, mut cause: Error) -> Result<(), Error> {
        loop {
            *failures += 1;
            if *failures >= self.client().options.retry.tries {
                return Err(cause);
            }
            self.client().wait(*failures, cause.wait(), &self.registry.cancel)?;
            match self.ask() {
                Err(error) if error.may_pass() => cause = error,
                Err(_) => {
                    self.lost = true;
                    return Err(cause);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn way_on(&self, cause: &Error) -> Option<Way> {
        match cause {
            // It was put together of several requests; what is wrong with it may have gone wrong on the way.
            Error::Status { status: 400, .. } if self.finishing && self.resumed => Some(Way::Anew),
            Error::Missing { .. } | Error::Protocol { problem: Problem::UploadRange, .. } => Some(Way::Anew),
            // Something before the registry takes requests of some size only.
            Error::Status { status: 413, .. } if !self.finishing && self.next_chunk() != self.chunk => {
                Some(Way::Anew)
            }
            // The end is asked for as often as anything else already.
            _ if self.finishing => None,
            Error::Interrupted { .. } => Some(Way::There),
            cause if cause.may_pass() || is_misplaced(cause) => Some(Way::There),
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
        let Self { failures, losses, .. } = *self;
        let chunk = self.next_chunk();
        *self = Self { failures, losses, chunk, ..self.registry.upload(&self.repository)? };
        Ok(())
    }

    /// Bytes of a chunk of the next upload, after the registry lost everything. Where nothing got through, what was on its way was
    /// too much.
    fn next_chunk(&self) -> Option<u64> {
        let on_its_way = self.sent.saturating_sub(self.offset);
        let before = self.chunk.unwrap_or(CHUNK);
        match on_its_way {
            0 => self.chunk,
            _ if self.offset > self.begun => Some(before),
            _ => Some(before.min(on_its_way / 2).max(MIN_CHUNK)),
        }
    }
}
