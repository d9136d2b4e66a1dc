//! What readers show is what was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use loment_logs::{Format, MAX_FILES, Moment, Options, Reader, Rotation, Settings, Stream, Writer, numbered};
use proptest::prelude::*;

/// What was written or read: bytes with their streams, in order. Lines have their ends.
type Bytes = Vec<(bool, u8)>;

fn bytes(stream: Stream, text: &[u8]) -> impl Iterator<Item = (bool, u8)> + '_ {
    text.iter().map(move |&b| (stream == Stream::Stderr, b))
}

/// Reads `most` records.
fn read(reader: &mut Reader, most: usize) -> Bytes {
    let mut all = Bytes::new();
    for _ in 0..most {
        let Some(record) = reader.next_record().unwrap() else { break };
        all.extend(bytes(record.stream, &record.text));
        all.extend(bytes(record.stream, if record.partial { b"" } else { b"\n" }));
    }
    all
}

fn read_all(path: &Path, options: Options) -> Bytes {
    read(&mut Reader::open(path, Format::K8sFile, options).unwrap(), usize::MAX)
}

const FOLLOW: Options = Options { tail: None, since: None, until: None, follow: true };

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
    format: Format,
    writer: Writer,
    written: Bytes,
}

impl Log {
    fn new(format: Format, rotation: Rotation) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        let settings = Settings::Files { path: path.clone(), format, rotation, attributes: BTreeMap::new() };
        let writer = Writer::open(settings).unwrap();
        Self { _dir: dir, path, format, writer, written: Bytes::new() }
    }

    fn reader(&self, options: Options) -> Reader {
        Reader::open(&self.path, self.format, options).unwrap()
    }

    fn do_chore(&mut self) {
        if let Some(chore) = self.writer.chore() {
            chore.run().unwrap();
            self.writer.end_chore(true).unwrap();
        }
    }

    fn write(&mut self, stream: Stream, text: &[u8]) {
        self.writer.write(stream, text).unwrap();
        self.written.extend(bytes(stream, text));
    }

    /// The last lines, by where they end.
    fn tail(&self, wanted: usize) -> Bytes {
        // The line of each byte, and where each line ends.
        let (mut lines, mut ends) = (Vec::new(), Vec::<usize>::new());
        let mut open = [None::<usize>; 2];
        for (at, &(stream, byte)) in self.written.iter().enumerate() {
            let line = *open[usize::from(stream)].get_or_insert_with(|| {
                ends.push(0);
                ends.len() - 1
            });
            lines.push(line);
            ends[line] = at;
            if byte == b'\n' {
                open[usize::from(stream)] = None;
            }
        }
        let mut order: Vec<_> = (0..ends.len()).collect();
        order.sort_by_key(|&l| ends[l]);
        let kept = &order[order.len().saturating_sub(wanted)..];
        self.written.iter().zip(&lines).filter(|(_, l)| kept.contains(l)).map(|(b, _)| *b).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(bool, String),
    Compress,
    Open,
    Read(prop::sample::Index, usize),
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![4 => Just("a"), 2 => Just("bc"), 3 => Just("\n"), 1 => Just("dddddddddddddddd")],
        1..12,
    )
    .prop_map(|parts| parts.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), text()).prop_map(|(stream, text)| Step::Write(stream, text)),
        1 => Just(Step::Compress),
        1 => Just(Step::Open),
        3 => (any::<prop::sample::Index>(), 1..20_usize).prop_map(|(reader, n)| Step::Read(reader, n)),
    ];
    prop::collection::vec(step, 1..60)
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::K8sFile), Just(Format::JsonFile)]
}

fn rotation(max_size: u64, max_files: u32) -> Rotation {
    Rotation { max_size: Some(max_size), max_files, compress: true, ..Rotation::default() }
}

fn stream(is_stderr: bool) -> Stream {
    if is_stderr { Stream::Stderr } else { Stream::Stdout }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn followers_read_what_was_written(format in format(), steps in steps(), max_size in 60_u64..600) {
        let mut log = Log::new(format, rotation(max_size, MAX_FILES));
        let mut readers = Vec::new();
        for step in steps {
            match step {
                Step::Write(is_stderr, text) => log.write(stream(is_stderr), text.as_bytes()),
                Step::Compress => log.do_chore(),
                Step::Open => readers.push((log.reader(FOLLOW), Bytes::new())),
                Step::Read(which, n) if !readers.is_empty() => {
                    let which = which.index(readers.len());
                    let (reader, seen) = &mut readers[which];
                    seen.extend(read(reader, n));
                }
                Step::Read(..) => {}
            }
        }
        readers.push((log.reader(Options::default()), Bytes::new()));
        for (mut reader, mut seen) in readers {
            seen.extend(read(&mut reader, usize::MAX));
            prop_assert_eq!(&seen, &log.written);
        }
    }

    #[test]
    fn one_that_keeps_up_loses_nothing_that_is_deleted(
        texts in prop::collection::vec((any::<bool>(), "[a-z]{1,30}\n?"), 1..60),
        format in format(),
        max_size in 150_u64..600,
        max_files in 1_u32..4,
    ) {
        let mut log = Log::new(format, rotation(max_size, max_files));
        let mut reader = log.reader(FOLLOW);
        let mut seen = Bytes::new();
        for (is_stderr, text) in texts {
            log.write(stream(is_stderr), text.as_bytes());
            log.do_chore();
            seen.extend(read(&mut reader, usize::MAX));
        }
        prop_assert_eq!(seen, log.written);
    }

    #[test]
    fn the_last_lines_are_those_that_ended_last(
        format in format(),
        texts in prop::collection::vec((any::<bool>(), text(), any::<bool>()), 0..40),
        max_size in 60_u64..2000,
        wanted in 0_usize..60,
    ) {
        let mut log = Log::new(format, rotation(max_size, MAX_FILES));
        for (is_stderr, text, is_compressed) in texts {
            log.write(stream(is_stderr), text.as_bytes());
            if is_compressed {
                log.do_chore();
            }
        }
        let options = Options { tail: Some(wanted), ..FOLLOW };
        let mut reader = log.reader(options);
        prop_assert_eq!(read(&mut reader, usize::MAX), log.tail(wanted));
        // What comes after is all shown.
        let before = log.written.len();
        log.write(Stream::Stderr, b"x");
        log.write(Stream::Stdout, b"y\n");
        prop_assert_eq!(&read(&mut reader, usize::MAX)[..], &log.written[before..]);
    }

    #[test]
    fn what_is_older_or_newer_than_wanted_is_left_out(
        files in prop::collection::vec(prop::collection::vec((0_i64..3, 0_usize..3000), 0..200), 1..4),
        since in 0_i64..600,
        length in 0_i64..600,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        let (mut seconds, mut wanted) = (0, 0);
        let count = files.len() as u32;
        for (n, records) in files.into_iter().enumerate() {
            let mut content = String::new();
            for (step, padding) in records {
                seconds += step;
                wanted += usize::from((since..=since + length).contains(&seconds));
                content += &format!("{} stdout F {:padding$}\n", Moment::new(seconds, 0), "");
            }
            let number = count - 1 - n as u32;
            std::fs::write(if number == 0 { path.clone() } else { numbered(&path, number) }, content).unwrap();
        }
        let moment = |seconds| Some(Moment::new(seconds, 0));
        let options = Options { since: moment(since), until: moment(since + length), ..Options::default() };
        let found = read_all(&path, options);
        prop_assert_eq!(found.iter().filter(|(_, b)| *b == b'\n').count(), wanted);
    }
}

#[test]
fn an_end_is_that_of_the_log_when_it_was_opened() {
    let mut log = Log::new(Format::K8sFile, rotation(1 << 20, 1));
    log.write(Stream::Stdout, b"one\n");
    let mut reader = log.reader(Options::default());
    let written = log.written.clone();
    log.write(Stream::Stdout, b"two\n");
    assert_eq!(read(&mut reader, usize::MAX), written);
}

#[test]
fn a_log_without_a_file_is_empty_until_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    for tail in [None, Some(1)] {
        let mut reader = Reader::open(&path, Format::K8sFile, Options { tail, ..FOLLOW }).unwrap();
        assert_eq!(read(&mut reader, 1), []);
        let text = format!("{} stdout F a\n", Moment::now());
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&mut reader, 9).len(), 2);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_log_that_somebody_empties_is_followed_on() {
    let mut log = Log::new(Format::K8sFile, rotation(1 << 20, 1));
    log.write(Stream::Stdout, b"a long line\n");
    let mut reader = log.reader(FOLLOW);
    assert_eq!(read(&mut reader, usize::MAX).len(), 12);
    std::fs::File::create(&log.path).unwrap();
    assert_eq!(read(&mut reader, usize::MAX), []);
    log.write(Stream::Stdout, b"b\n");
    assert_eq!(read(&mut reader, usize::MAX).len(), 2);
}

#[test]
fn a_record_that_is_too_long_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let line = |text: &str| format!("{} stdout F {text}\n", Moment::now());
    let text = [line("a"), line(&"x".repeat(5 << 20)), line("b"), "garbage\n".into(), line("c")].concat();
    std::fs::write(&path, text).unwrap();
    for tail in [None, Some(10)] {
        let text: Vec<u8> =
            read_all(&path, Options { tail, ..Options::default() }).into_iter().map(|(_, b)| b).collect();
        assert_eq!(text, b"a\nb\nc\n", "tail {tail:?}");
    }
}

/// F8: a follower skipped a file when two rotations fell between two looks, and a rotation while files were listed
/// duplicated or dropped one.
#[test]
fn no_rotation_loses_or_repeats_a_line() {
    const LINES: u32 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let rotation =
        Rotation { max_size: Some(20_000), max_files: MAX_FILES, compress: true, ..Rotation::default() };
    let mut writer = Writer::open(Settings::file(&path, rotation)).unwrap();
    let is_done = AtomicBool::new(false);
    let numbers = |reader: &mut Reader| -> Vec<u32> {
        let mut found = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            found.push(std::str::from_utf8(&record.text).unwrap().parse().unwrap());
        }
        found
    };
    let mut follower = Reader::open(&path, Format::K8sFile, FOLLOW).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..LINES {
                writer.write(Stream::Stdout, format!("{i}\n").as_bytes()).unwrap();
                // Some are compressed, and more than one is waiting for it.
                if i % 2000 == 0
                    && let Some(chore) = writer.chore()
                {
                    chore.run().unwrap();
                    writer.end_chore(true).unwrap();
                }
            }
            is_done.store(true, Ordering::Release);
        });
        let listing = scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                let found = numbers(&mut Reader::open(&path, Format::K8sFile, Options::default()).unwrap());
                assert!(found.iter().zip(0..).all(|(a, b)| *a == b), "not all from the first on");
                let options = Options { tail: Some(1000), ..Options::default() };
                let found = numbers(&mut Reader::open(&path, Format::K8sFile, options).unwrap());
                assert!(found.windows(2).all(|w| w[1] == w[0] + 1), "not all of the last");
            }
        });
        let mut next = 0;
        while next < LINES {
            for number in numbers(&mut follower) {
                assert_eq!(number, next);
                next += 1;
            }
        }
        listing.join().unwrap();
    });
}
