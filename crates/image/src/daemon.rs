//! Images with Docker's daemon: the `docker-daemon:` transport. They come and go as archives.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use loment_registry::Daemon;

use crate::archive::{Archive, DockerArchive, DockerArchiveWriter, Output, Scratch};
use crate::destination::Destination;
use crate::error::Error;
use crate::pipe::{PipeSink, WAITING, pipe};
use crate::reference::Reference;

/// An archive with the image of that name or id.
///
/// # Errors
/// [`Error::Registry`] when the daemon has none or cannot be reached, and as of [`Archive::read`].
pub fn from_daemon(daemon: &Daemon, image: &str, scratch: &Scratch) -> Result<DockerArchive, Error> {
    // Without a tag the daemon would give all that there are.
    let name = match image.parse::<Reference>() {
        Ok(reference) if !image.starts_with("sha256:") => reference.store_name(),
        _ => image.to_owned(),
    };
    let mut stream = daemon.save(&name)?;
    DockerArchive::open(Archive::read(&mut stream, &format!("docker-daemon:{image}"), scratch)?)
}

/// Has the daemon take what `work` sends, under a name. It is sent while it is made.
///
/// # Errors
/// Those of `work`, and [`Error::Registry`] for what the daemon refuses.
pub fn to_daemon<T, E: From<Error>>(
    daemon: &Daemon,
    name: &Reference,
    scratch: &Scratch,
    work: impl FnOnce(&dyn Destination) -> Result<T, E>,
) -> Result<T, E> {
    let (sink, [mut reader]) = pipe(WAITING);
    thread::scope(|scope| {
        let loading = scope.spawn(move || daemon.load(&mut reader, None));
        let sink = Arc::new(Mutex::new(Some(PipeSink::new(sink))));
        let refused = Arc::new(AtomicBool::new(false));
        let shared = Shared { sink: Arc::clone(&sink), refused: Arc::clone(&refused) };
        let out = Output::stream(Box::new(shared), "docker-daemon", scratch);
        let writer = DockerArchiveWriter::new(out);
        let worked = work(&writer.image(vec![name.store_name()]))
            .and_then(|value| writer.finish().map(|()| value).map_err(E::from));
        let sink = sink.lock().unwrap_or_else(|e| e.into_inner()).take();
        // Without this end the daemon sees a broken stream, and keeps nothing.
        let ended = match (sink, &worked) {
            (Some(sink), Ok(_)) => sink.end(),
            _ => Ok(()),
        };
        let loaded = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (worked, loaded, ended) {
            // The cause before its consequence: whoever hangs up first knows why.
            (Err(_), Err(error), _) if refused.load(Ordering::Relaxed) => Err(Error::from(error).into()),
            (Err(error), ..) => Err(error),
            (Ok(_), Err(error), _) => Err(Error::from(error).into()),
            (Ok(_), Ok(()), Err(source)) => Err(Error::Copy { blob: "archive".to_owned(), source }.into()),
            (Ok(value), Ok(()), Ok(())) => Ok(value),
        }
    })
}

/// A pipe that is ended by somebody else than who writes to it.
struct Shared {
    sink: Arc<Mutex<Option<PipeSink>>>,
    /// Set when nobody reads any more.
    refused: Arc<AtomicBool>,
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = self.sink.lock().unwrap_or_else(|e| e.into_inner());
        let written = sink.as_mut().map_or(Err(io::ErrorKind::BrokenPipe.into()), |sink| sink.write(bytes));
        if written.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
