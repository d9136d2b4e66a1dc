//! Layers whose bytes come slowly, in parts, or not at all. Needs root.

#[expect(dead_code, reason = "uses its own part of what the tests share")]
mod common;

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use common::server::{Answer, Server};
use common::{Fixture, PLAIN, ZSTD, chain, host, image, tar};
use loment_image::{
    Compression, CopyOptions, Destination, Error, Fetched, Incoming, Layers, OciLayout, Options, Parts,
    Pulled, Silent, Source, Wants, copy, pull,
};
use loment_store::sha256;
use oci_spec::image::{Descriptor, Digest, MediaType};

const PARTS: Parts = Parts { judged_after: 50_000, size: 4 << 20, parallel: 3 };

/// What comes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Right,
    Wrong,
    Refused,
    /// Nothing, until nobody wants it.
    Nothing,
}

/// A layout whose blobs come slowly, and in parts.
struct Slow<'s> {
    inner: &'s dyn Source,
    /// What comes of each part in the first attempt, the last for all that follow; in others they are right.
    parts: &'s [Part],
    /// Bytes of a part.
    size: u64,
    attempts: AtomicUsize,
    /// How many there may be.
    most: usize,
    /// Where the first part begins.
    first: Mutex<Option<u64>>,
    ended: (Mutex<bool>, Condvar),
}

impl Slow<'_> {
    fn set_ended(&self, ended: bool) {
        *self.ended.0.lock().unwrap() = ended;
        self.ended.1.notify_all();
    }

    fn rest(&self, blob: &Descriptor, from: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let mut bytes = self.inner.blob(blob)?;
        io::copy(&mut (&mut bytes).take(from), &mut io::sink()).unwrap();
        Ok(bytes)
    }
}

impl Source for Slow<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        self.inner.manifest(digest)
    }
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(Drip(self.inner.blob(blob)?)))
    }
    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        let first = *self.first.lock().unwrap().get_or_insert(range.start);
        let nth = usize::try_from((range.start - first) / self.size).unwrap();
        let is_first = self.attempts.load(Ordering::SeqCst) == 1;
        let part = self.parts.get(nth).or(self.parts.last()).filter(|_| is_first);
        let length = range.end - range.start;
        Ok(Some(match part.unwrap_or(&Part::Right) {
            Part::Right => Box::new(self.rest(blob, range.start)?.take(length)),
            Part::Wrong => Box::new(io::repeat(0xff).take(length)),
            Part::Refused => {
                let (object, host, detail) = ("blob".to_owned(), "h".to_owned(), String::new());
                return Err(loment_registry::Error::Denied { object, host, detail }.into());
            }
            Part::Nothing => {
                let (ended, told) = &self.ended;
                drop(told.wait_while(ended.lock().unwrap(), |ended| !*ended).unwrap());
                return Err(loment_registry::Error::Cancelled.into());
            }
        }))
    }
    fn other_way(&self, _: &Descriptor, _: bool) -> bool {
        self.attempts.load(Ordering::SeqCst) < self.most
    }
    fn cancel_blob(&self, _: &Descriptor) {
        self.set_ended(true);
    }
    fn begin_blob(&self, _: &Descriptor) {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        *self.first.lock().unwrap() = None;
        self.set_ended(false);
    }
}

struct Drip<'s>(Box<dyn Read + Send + 's>);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // So long that a busy machine does not make the reader look slower.
        thread::sleep(Duration::from_millis(40));
        let most = out.len().min(5000);
        self.0.read(&mut out[..most])
    }
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// A frame with a window of so many bytes, as a power of two.
fn frame(bytes: &[u8], window: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pull_in_parts(fixture: &Fixture, how: Parts, parts: &[Part], most: usize) -> Result<Pulled, Error> {
    let inner = &OciLayout::open(&fixture.oci(), None, "").unwrap();
    let (ended, first, attempts) =
        ((Mutex::new(false), Condvar::new()), Mutex::new(None), AtomicUsize::new(0));
    let source = Slow { inner, parts, size: how.size, attempts, most, first, ended };
    let options = Options { parts: how, ..Options::default() };
    let pulled = pull(&source, &fixture.store, None, &options, &mut Silent);
    assert!(source.first.lock().unwrap().is_some(), "it was not read in parts");
    pulled
}

#[test]
fn a_large_window_does_not_wait_for_what_the_layers_own_parts_hold() {
    let fixture = Fixture::new();
    // Parts are still on their way when the second frame begins: more than all pipes hold comes behind.
    let tar = tar("f", &noise(12_000_000));
    let (first, second) = tar.split_at(500_000);
    let frames = [frame(first, 20), frame(second, 25)].concat();
    fixture.index(&[image(&fixture, &[(ZSTD, &frames, &tar)], false, &host())]);
    let pulled = pull_in_parts(&fixture, PARTS, &[Part::Right], 1).unwrap();
    assert_eq!(pulled.fetched, 1);
}

/// A layer of many files, which is not compressed: what comes wrong of it is seen soon.
fn many_files(fixture: &Fixture) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in 0..2500 {
        let one = tar(&format!("f{file}"), b"x");
        bytes.extend_from_slice(&one[..one.len() - 1024]);
    }
    bytes.resize(bytes.len() + 1024, 0);
    fixture.index(&[image(fixture, &[(PLAIN, &bytes, &bytes)], false, &host())]);
    bytes
}

/// More than what is passed on at once.
const SMALL_PARTS: Parts = Parts { judged_after: 50_000, size: 300_000, parallel: 3 };

#[test]
fn a_layer_that_fails_does_not_wait_for_its_other_parts() {
    for (part, expected) in [(Part::Wrong, "malformed near"), (Part::Refused, "cannot download layer")] {
        let fixture = Fixture::new();
        many_files(&fixture);
        let parts = [Part::Right, part, Part::Nothing];
        let error = pull_in_parts(&fixture, SMALL_PARTS, &parts, 1).unwrap_err();
        let message = chain(&error);
        assert!(message.contains(expected) && !message.contains("cancelled"), "{part:?}: {message}");
    }
}

#[test]
fn a_layer_that_failed_is_fetched_in_parts_again() {
    let fixture = Fixture::new();
    let bytes = many_files(&fixture);
    let parts = [Part::Right, Part::Wrong, Part::Nothing];
    let pulled =
        pull_in_parts(&fixture, SMALL_PARTS, &parts, 2).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let record = fixture.store.image(&pulled.image).unwrap().unwrap();
    assert_eq!(*record.layers[0].digest(), sha256(&bytes));
}

/// A layout whose blobs stop before their end, until nobody wants them.
struct Stuck<'s> {
    inner: &'s dyn Source,
    ended: (Mutex<bool>, Condvar),
}

impl Source for Stuck<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        self.inner.manifest(digest)
    }
    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let beginning = self.inner.blob(blob)?.take(blob.size() / 2);
        Ok(Box::new(beginning.chain(Waits(&self.ended))))
    }
    fn cancel_blob(&self, _: &Descriptor) {
        *self.ended.0.lock().unwrap() = true;
        self.ended.1.notify_all();
    }
    fn begin_blob(&self, _: &Descriptor) {
        *self.ended.0.lock().unwrap() = false;
    }
}

struct Waits<'w>(&'w (Mutex<bool>, Condvar));

impl Read for Waits<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |ended| !*ended).unwrap());
        Err(io::Error::other("it was cancelled"))
    }
}

/// A place that takes nothing.
struct Full;

impl Destination for Full {
    fn name(&self) -> &str {
        "full"
    }
    fn wants(&self) -> Wants {
        Wants::AsIs
    }
    fn has(&self, _: &Descriptor) -> Result<bool, Error> {
        Ok(false)
    }
    fn put_blob(&self, _: &mut Incoming<'_>) -> Result<(), Error> {
        Err(Error::Unread { destination: "full".to_owned() })
    }
    fn put_document(&self, _: &Descriptor, _: &[u8], _: bool) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_copy_that_is_not_taken_does_not_wait_for_its_source() {
    let fixture = Fixture::new();
    many_files(&fixture);
    let inner = &OciLayout::open(&fixture.oci(), None, "").unwrap();
    for layers in [Layers::Keep, Layers::As(Compression::Zstd)] {
        let source = Stuck { inner, ended: (Mutex::new(false), Condvar::new()) };
        let options = CopyOptions { layers, ..CopyOptions::default() };
        let error = copy(&source, &Full, &options, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Unread { .. }), "{}", chain(&error));
    }
}

#[test]
fn what_is_waited_for_of_one_blob_of_a_registry_can_be_ended() {
    let content = noise(100_000);
    let (digest, other) = (sha256(&content), sha256(b"other"));
    let (stalled, both) = (content.clone(), digest.clone());
    let server = Server::start(move |what| match what {
        blob if blob.contains(both.digest()) => {
            Some(Answer { most: 1000, hangs: true, ..Answer::whole(&stalled) })
        }
        blob if blob.contains("/blobs/") => Some(Answer::whole(b"other")),
        _ => Some(Answer::whole(b"{}")),
    });
    let source = server.source("x:1");
    let of = |digest: &Digest, size| Descriptor::new(MediaType::ImageLayer, size, digest.clone());
    let (blob, other) = (of(&digest, content.len() as u64), of(&other, 5));
    let read = |blob: &Descriptor| {
        let mut bytes = Vec::new();
        source
            .blob(blob)
            .map_err(|error| chain(&error))?
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())
    };
    let ended = |end: &dyn Fn()| {
        thread::scope(|scope| {
            let requests = server.requests().len();
            let reader = scope.spawn(|| read(&blob));
            while server.requests().len() == requests {
                thread::sleep(Duration::from_millis(5));
            }
            end();
            assert_eq!(reader.join().unwrap().unwrap_err(), "it was cancelled");
        });
    };
    ended(&|| source.cancel_blob(&blob));
    // Nothing more of that one, until it is begun anew.
    assert_eq!(read(&blob).unwrap_err(), "it was cancelled");
    assert_eq!(read(&other), Ok(5));
    source.begin_blob(&blob);
    ended(&|| source.cancel_blob(&blob));
    source.begin_blob(&blob);
    ended(&|| source.cancel());
    source.begin_blob(&blob);
    for blob in [&blob, &other] {
        assert_eq!(read(blob).unwrap_err(), "it was cancelled");
    }
}
