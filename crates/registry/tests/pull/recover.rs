//! Uploads that break off, gone on with by who has the bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Reply, Server, Then, content, sha256};
use crate::uploads::{Store, at, store};
use loment_registry::{Cancel, Error, Upload};

/// Sends all of it, again and again as it is told.
fn insist(store: &Store, bytes: &[u8]) -> Result<Vec<u64>, Error> {
    let mut upload = at(&store.server).upload("a/b")?;
    let mut starts = vec![0];
    let attempt = |upload: &mut Upload| {
        let start = usize::try_from(upload.offset()).unwrap();
        upload.send(&mut &bytes[start..], None)?;
        upload.finish(&sha256(bytes))
    };
    while let Err(error) = attempt(&mut upload) {
        starts.push(upload.recover(error)?);
    }
    Ok(starts)
}

fn reset() -> Reply {
    Reply { bytes: Vec::new(), then: Then::Reset }
}

#[test]
fn a_stream_goes_on_where_the_registry_stands() {
    let bytes = content(10 << 20);
    let store = store(None, |request, kept, count| {
        (request.method == "PATCH" && count == 1).then(|| {
            kept.extend(&request.bytes[..3_000_000]);
            reset()
        })
    });
    assert_eq!(insist(&store, &bytes).unwrap(), [0, 3_000_000]);
    assert!(store.holds(&bytes));
}

#[test]
fn a_registry_that_is_busy_is_waited_for_so_often() {
    let bytes = content(100_000);
    let busy = |times: usize| {
        store(None, move |request, _, count| {
            let busy = request.method == "PATCH" && count <= times;
            busy.then(|| Reply::new(503, &[("Retry-After", "0")], b""))
        })
    };
    let twice = busy(2);
    assert_eq!(insist(&twice, &bytes).unwrap(), [0, 0, 0]);
    assert!(twice.holds(&bytes));
    let always = busy(usize::MAX);
    let error = insist(&always, &bytes).unwrap_err();
    assert!(matches!(error, Error::Status { status: 503, .. }), "{error:?}");
    assert_eq!(always.log().iter().filter(|line| line.starts_with("PATCH")).count(), 3);
    // What will not pass is not waited for.
    let denied = store(None, |request, _, _| (request.method == "PATCH").then(|| Reply::new(403, &[], b"")));
    assert!(matches!(insist(&denied, &bytes), Err(Error::Denied { .. })));
    assert_eq!(denied.log().len(), 2);
}

#[test]
fn a_registry_that_has_more_than_it_got_is_not_believed() {
    let bytes = content(3 << 20);
    let count = AtomicUsize::new(0);
    let store = store(None, move |request, _, _| match request.method.as_str() {
        "PATCH" => Some(reset()),
        // Ever more, so that there always seems to be progress.
        "GET" => {
            let more = (count.fetch_add(1, Ordering::Relaxed) + 1) * (8 << 20);
            Some(Reply::new(204, &[("Location", "/upload"), ("Range", &format!("0-{more}"))], b""))
        }
        _ => None,
    });
    let error = insist(&store, &bytes).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(store.log().len() < 20, "{:?}", store.log());
}

#[test]
fn an_upload_that_is_forgotten_begins_anew() {
    let bytes = content(10 << 20);
    let forgetful = store(None, |request, kept, count| match request.method.as_str() {
        "PATCH" if count == 1 => Some(reset()),
        // Not known, or not told.
        "GET" => {
            kept.clear();
            Some(Reply::new(404, &[], b""))
        }
        _ => None,
    });
    assert_eq!(insist(&forgetful, &bytes).unwrap(), [0, 0]);
    assert!(forgetful.holds(&bytes));
    assert_eq!(forgetful.log().iter().filter(|line| line.starts_with("POST")).count(), 2);
}

#[test]
fn what_was_put_together_wrongly_is_sent_again() {
    let bytes = content(4 << 20);
    let store = store(None, |request, kept, count| match request.method.as_str() {
        "PATCH" if count == 1 => {
            kept.extend(&request.bytes[..2_000_000]);
            kept[0] ^= 1;
            Some(reset())
        }
        "POST" => {
            kept.clear();
            None
        }
        _ => None,
    });
    assert_eq!(insist(&store, &bytes).unwrap(), [0, 2_000_000, 0]);
    assert!(store.holds(&bytes));
}

/// One that keeps nothing of an upload of which a request broke off, like distribution, over a way that breaks when
/// `broken` says so of how many requests there were and of one's bytes.
fn forgetful(broken: impl Fn(usize, usize) -> bool + Send + Sync + 'static) -> Store {
    store(None, move |request, kept, count| match request.method.as_str() {
        "PATCH" if broken(count, request.bytes.len()) => {
            kept.clear();
            kept.push(0);
            Some(reset())
        }
        "GET" if *kept == [0] => Some(Reply::new(404, &[], b"")),
        "POST" => {
            kept.clear();
            None
        }
        _ => None,
    })
}

#[test]
fn a_registry_that_loses_what_was_interrupted_is_sent_less_at_a_time() {
    // A way that breaks whatever is large.
    let bytes = content(6 << 20);
    let store = forgetful(|_, length| length > 3 << 19);
    assert_eq!(insist(&store, &bytes).unwrap(), [0, 0, 0]);
    assert!(store.holds(&bytes));
    let chunks: Vec<_> = store.log().into_iter().filter(|line| line.contains("PATCH")).collect();
    assert_eq!(chunks[1], format!("PATCH /upload?state=0 0-{}", (3 << 20) - 1));
    assert_eq!(chunks[2], format!("PATCH /upload?state=0 0-{}", (3 << 19) - 1));
    assert_eq!(*chunks.last().unwrap(), format!("PATCH /upload?state={0} {0}-{1}", 9 << 19, (12 << 19) - 1));
}

#[test]
fn an_upload_that_begins_anew_has_its_tries_for_what_gets_through_again() {
    let bytes = content(3 << 20);
    // Each time at the second chunk.
    let store = forgetful(|count, _| count % 2 == 1 && count < 30);
    let starts = insist(&store, &bytes).unwrap();
    assert_eq!(starts, [0; 16]);
    assert!(store.holds(&bytes));
    // Where it stands is asked once each time.
    let log = store.log();
    assert_eq!(log.iter().filter(|line| line.starts_with("GET")).count(), 15);
    // Not for ever, and not for so many tries when nothing gets through.
    let never = forgetful(|count, _| count % 2 == 1);
    assert!(matches!(insist(&never, &bytes), Err(Error::Lost { .. })));
    assert!(never.log().len() < 300, "{}", never.log().len());
    let nothing = forgetful(|_, _| true);
    assert!(insist(&nothing, &bytes).is_err());
    assert!(nothing.log().len() < 15, "{:?}", nothing.log());
}

#[test]
fn what_is_too_large_for_what_is_before_a_registry_goes_in_chunks() {
    let bytes = content(5 << 20);
    let limited = |most: usize| {
        store(None, move |request, _, _| {
            let large = request.method == "PATCH" && request.bytes.len() > most;
            large.then(|| Reply::new(413, &[], b""))
        })
    };
    let store = limited(2 << 20);
    insist(&store, &bytes).unwrap();
    assert!(store.holds(&bytes));
    let error = insist(&limited(1000), &bytes).unwrap_err();
    assert!(matches!(error, Error::Status { status: 413, .. }), "{error:?}");
}

#[test]
fn what_is_waited_for_can_be_cancelled() {
    let bytes = content(3 << 20);
    // One that wants to be left alone for a minute, one that falls silent, and one that does so in the middle.
    let later = || Reply::new(429, &[("Retry-After", "60")], b"");
    let whole = bytes.clone();
    let silent = || Reply { bytes: Vec::new(), then: Then::Hang };
    let half = move || Reply::new(200, &[], &whole).cut(100_000, Then::Hang);
    for server in
        [Server::start(move |_| later()), Server::start(move |_| silent()), Server::start(move |_| half())]
    {
        let cancel = Cancel::new();
        let registry = at(&server);
        let ours = registry.ended_by(&cancel);
        let digest = sha256(&bytes);
        let waiting = std::thread::spawn(move || {
            let mut blob = ours.blob("a/b", &digest, 0)?;
            match std::io::copy(&mut blob, &mut std::io::sink()) {
                Ok(_) => Ok(()),
                Err(error) => Err(*error.into_inner().unwrap().downcast::<Error>().unwrap()),
            }
        });
        while server.requests().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        cancel.cancel();
        let error = waiting.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error:?}");
        assert_eq!(server.requests().len(), 1);
        // Not again, and nobody else.
        let again = registry.ended_by(&cancel).blob("a/b", &sha256(&bytes), 0).unwrap_err();
        assert!(matches!(again, Error::Cancelled), "{again:?}");
    }
}
