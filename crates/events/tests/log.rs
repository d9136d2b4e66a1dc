//! Writing and reading by several at once, while files are renamed, and after some of them were killed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use loment_events::{Event, From, Kind, Log, Reader, Subject, What};

fn event(writer: &str, number: u32) -> Event {
    let subject = Subject { id: writer.to_owned(), name: number.to_string(), ..Subject::default() };
    Event::new(Kind::Container, What::Start, &subject)
}

/// All events there are now: of each writer its numbers, in the order in which they come.
fn take(reader: &mut Reader, numbers: &mut BTreeMap<String, Vec<u32>>) {
    while let Some(event) = reader.next().unwrap() {
        numbers.entry(event.subject.id).or_default().push(event.subject.name.parse().unwrap());
    }
}

fn all(log: &Log) -> BTreeMap<String, Vec<u32>> {
    let mut numbers = BTreeMap::new();
    take(&mut Reader::open(log, From::Start).unwrap(), &mut numbers);
    numbers
}

fn files(log: &Log) -> usize {
    std::fs::read_dir(log.path().parent().unwrap()).unwrap().count()
}

#[test]
fn what_was_written_is_read_from_the_first_on_or_from_the_next_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), Log::MAX_SIZE);
    assert_eq!(all(&log), BTreeMap::new(), "nothing was made for that");
    log.write(&[event("a", 0), event("b", 0)]).unwrap();
    let mut follower = Reader::open(&log, From::End).unwrap();
    assert_eq!(follower.next().unwrap(), None);
    log.write(&[event("a", 1)]).unwrap();
    assert_eq!(follower.next().unwrap().unwrap().subject.name, "1");
    assert_eq!(follower.next().unwrap(), None);
    assert_eq!(all(&log), BTreeMap::from([("a".into(), vec![0, 1]), ("b".into(), vec![0])]));
    let mut of_b = Reader::open(&log, From::Start).unwrap().mentioning("\"b\"");
    assert_eq!(of_b.next().unwrap().unwrap().subject.id, "b");
    assert_eq!(of_b.next().unwrap(), None);
}

#[test]
fn a_line_without_an_end_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), Log::MAX_SIZE);
    log.write(&[event("a", 0)]).unwrap();
    let whole = std::fs::read(log.path()).unwrap();
    for cut in 0..whole.len() {
        let path = dir.path().join("events/log");
        std::fs::write(&path, &whole).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&whole[..cut]).unwrap();
        assert_eq!(all(&log)["a"], [0], "{cut}");
        log.write(&[event("a", 1)]).unwrap();
        log.write(&[event("a", 2)]).unwrap();
        // One that lacks nothing but its end is whole with the next one's, which then is the last of its line.
        assert_eq!(all(&log)["a"], [0, 1, 2], "{cut}");
    }
}

#[test]
fn a_follower_goes_on_where_the_file_was_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), 4000);
    let mut follower = Reader::open(&log, From::End).unwrap();
    let mut seen = BTreeMap::new();
    for number in 0..300 {
        log.write(&[event("a", number)]).unwrap();
        // Sometimes it is behind by several files.
        if number % 70 == 0 {
            take(&mut follower, &mut seen);
        }
    }
    take(&mut follower, &mut seen);
    assert!(files(&log) > 5, "{}", files(&log));
    let expected: Vec<_> = (0..300).collect();
    assert_eq!(seen["a"], expected);
    assert_eq!(all(&log)["a"], expected, "young files are kept");
}

#[test]
fn old_files_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), 4000);
    for number in 0..300 {
        log.write(&[event("a", number)]).unwrap();
        for entry in std::fs::read_dir(dir.path().join("events")).unwrap() {
            let path = entry.unwrap().path();
            if path != log.path() {
                let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
                let file = OpenOptions::new().append(true).open(&path).unwrap();
                file.set_modified(long_ago).unwrap();
            }
        }
    }
    assert!(files(&log) <= 3, "{}", files(&log));
    let left = all(&log).remove("a").unwrap();
    assert!(left.len() > 10 && left.len() < 60, "{}", left.len());
    assert_eq!(left, (300 - left.len() as u32..300).collect::<Vec<_>>(), "the newest ones");
}

#[test]
fn without_a_limit_nothing_is_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), 0);
    for number in 0..300 {
        log.write(&[event("a", number)]).unwrap();
    }
    assert_eq!(files(&log), 1);
}

#[test]
fn eight_writers_lose_and_repeat_nothing_while_it_is_renamed() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 400;
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), 30_000);
    let mut follower = Reader::open(&log, From::End).unwrap();
    let mut seen = BTreeMap::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    log.write(&[event(&writer.to_string(), number)]).unwrap();
                }
            });
        }
        while seen.values().map(Vec::len).sum::<usize>() < (WRITERS * EACH) as usize {
            follower.wait(Some(Duration::from_secs(20))).unwrap();
            take(&mut follower, &mut seen);
        }
    });
    assert!(files(&log) > 5, "{}", files(&log));
    for numbers in [&mut seen, &mut all(&log)] {
        assert_eq!(numbers.len(), WRITERS as usize);
        for (writer, numbers) in numbers {
            // What came late to a file that was renamed is read late.
            numbers.sort_unstable();
            assert_eq!(*numbers, (0..EACH).collect::<Vec<_>>(), "{writer}");
        }
    }
}

/// Not a test: what the next one kills.
#[test]
#[ignore = "writes until it is killed"]
fn writer() {
    let Some(dir) = std::env::var_os("LOMENT_TEST_EVENTS") else { return };
    let log = Log::below(Path::new(&dir), 20_000);
    let name = std::process::id().to_string();
    for number in 0.. {
        log.write(&[event(&name, number)]).unwrap();
        // Not faster than who reads.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn writers_that_are_killed_leave_what_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), 20_000);
    let mut follower = Reader::open(&log, From::End).unwrap();
    let mut seen = BTreeMap::new();
    for round in 0..10 {
        let start = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "writer", "--ignored"]).env("LOMENT_TEST_EVENTS", dir.path());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut writers = [start(), start(), start()];
        for (i, writer) in writers.iter_mut().enumerate() {
            let name = writer.id().to_string();
            while seen.get(&name).is_none_or(|numbers: &Vec<u32>| numbers.len() < 10) {
                follower.wait(Some(Duration::from_millis(100))).unwrap();
                take(&mut follower, &mut seen);
            }
            std::thread::sleep(Duration::from_micros(300 * (round + i as u64)));
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        take(&mut follower, &mut seen);
    }
    log.write(&[event("last", 0)]).unwrap();
    take(&mut follower, &mut seen);
    assert_eq!(seen["last"], [0]);
    for (writer, mut numbers) in seen {
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "{writer}");
    }
}

/// `cargo test --release -p loment-events measure -- --ignored --nocapture`: what telling costs `run --rm`, which writes four times.
#[test]
#[ignore = "prints times"]
fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::below(dir.path(), Log::MAX_SIZE);
    let one = || [event("1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e1f2e", 1)];
    let three = || [one(), one(), one()].concat();
    let started = std::time::Instant::now();
    const RUNS: u32 = 5000;
    for _ in 0..RUNS {
        for events in [one().to_vec(), three(), one().to_vec(), one().to_vec()] {
            log.write(&events).unwrap();
        }
    }
    println!("four writes of six events: {:?}", started.elapsed() / RUNS);
}
