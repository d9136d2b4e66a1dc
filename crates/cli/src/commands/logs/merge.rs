//! The logs of several containers as one.

use loment_engine::{Engine, Log};
use loment_logs::{Moment, Options, Record, Stream};

use super::journal::Journal;
use super::print::{Origin, Printer};
use crate::error::Error;

/// A record that is kept.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) time: String,
    stream: Stream,
    partial: bool,
    text: Vec<u8>,
}

impl Owned {
    pub(super) fn new(record: &Record<'_>) -> Self {
        let Record { time, stream, partial, text } = record;
        Self { time: (*time).to_owned(), stream: *stream, partial: *partial, text: text.to_vec() }
    }

    pub(super) fn record(&self) -> Record<'_> {
        let Self { time, stream, partial, text } = self;
        Record { time, stream: *stream, partial: *partial, text: text.as_slice().into() }
    }
}

/// A container's log.
pub(super) struct Source {
    id: String,
    origin: Origin,
    log: Kind,
    /// Its container has ended, and all that it wrote can be read.
    is_over: bool,
    /// Its next record, and the time of that.
    head: Option<(Option<Moment>, Owned)>,
}

enum Kind {
    Files(Box<loment_logs::Reader>),
    Journal(Box<Journal>),
}

impl Source {
    pub(super) fn open(
        engine: &Engine,
        container: &loment_engine::Container,
        origin: Origin,
        options: Options,
    ) -> Result<Self, Error> {
        let id = container.config.id.clone();
        let log = match engine.logs(container, options)? {
            Log::Files(reader) => Kind::Files(reader),
            Log::Journal => Kind::Journal(Box::new(Journal::open(&id, options)?)),
        };
        Ok(Self { id, origin, log, is_over: !options.follow, head: None })
    }

    fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        match &mut self.log {
            Kind::Files(reader) => Ok(reader.next_record().map_err(loment_engine::Error::from)?),
            Kind::Journal(journal) => journal.next_record(),
        }
    }

    /// Looks whether its container still runs. To be asked before reading: what was written before the end is read after it.
    pub(super) fn look(&mut self, engine: &Engine) -> Result<(), Error> {
        if !self.is_over && !engine.is_running(&self.id) {
            self.is_over = true;
            if let Kind::Journal(journal) = &mut self.log {
                journal.finish()?;
            }
        }
        Ok(())
    }

    /// Whether nothing will come any more of what is wanted.
    pub(super) fn is_done(&self) -> bool {
        let is_past = match &self.log {
            Kind::Files(reader) => reader.is_past(),
            Kind::Journal(journal) => journal.is_past(),
        };
        self.is_over || is_past
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.head.is_none() {
            let next =
                self.next()?.map(|record| (Moment::parse(record.time.as_bytes()), Owned::new(&record)));
            self.head = next;
        }
        Ok(())
    }
}

/// Shows all that there is at this moment, the oldest first.
pub(super) fn show(sources: &mut [Source], printer: &mut Printer) -> Result<(), Error> {
    if let [source] = sources {
        let origin = std::mem::take(&mut source.origin);
        while let Some(record) = source.next()? {
            printer.show(&origin, &record)?;
        }
        source.origin = origin;
        return printer.flush();
    }
    loop {
        for source in sources.iter_mut() {
            source.fill()?;
        }
        // A line is not left before its end, if that is there.
        let unfinished = printer.unfinished().filter(|n| sources[*n].head.is_some());
        let oldest = || {
            let heads = sources.iter().enumerate().filter_map(|(n, s)| Some((s.head.as_ref()?.0, n)));
            heads.min().map(|(_, n)| n)
        };
        let Some(n) = unfinished.or_else(oldest) else { return printer.flush() };
        if let Some((_, record)) = sources[n].head.take() {
            printer.show(&sources[n].origin, &record.record())?;
        }
    }
}
