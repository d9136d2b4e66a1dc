//! What a writer leaves in files.

use std::path::Path;

use loment_logs::{Format, Options, Reader, Rotation, Settings, Stream, Writer, numbered};
use loment_sys::signal::{SignalSet, set_mask};
use rustix::process::{Resource, Rlimit, setrlimit};

fn open(dir: &Path, max_size: Option<u64>, max_files: u32) -> Writer {
    let rotation = Rotation { max_size, max_files, ..Rotation::default() };
    Writer::open(Settings::file(dir.join("ctr.log"), rotation)).unwrap()
}

/// Stream, tag and text of each record in a file.
fn records(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a record: {text:?}");
    text.lines().map(|l| l.split_once(' ').unwrap().1.to_owned()).collect()
}

/// What a reader shows, with the ends of lines.
fn shown(path: &Path) -> String {
    let mut reader = Reader::open(path, Format::K8sFile, Options::default()).unwrap();
    let mut text = String::new();
    while let Some(record) = reader.next_record().unwrap() {
        text += &String::from_utf8_lossy(&record.text);
        text += if record.partial { "" } else { "\n" };
    }
    text
}

#[test]
fn lines_are_tagged_whole_or_partial() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), None, 1);
    log.write(Stream::Stdout, b"one\ntw").unwrap();
    log.write(Stream::Stderr, b"o\n\n").unwrap();
    assert_eq!(
        records(&dir.path().join("ctr.log")),
        ["stdout F one", "stdout P tw", "stderr F o", "stderr F "]
    );
}

#[test]
fn rotation_keeps_the_newest_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = open(dir.path(), Some(200), 3);
    for i in 0..20 {
        log.write(Stream::Stdout, format!("line {i}\n").as_bytes()).unwrap();
    }
    let lines: Vec<_> =
        [numbered(&path, 2), numbered(&path, 1), path.clone()].iter().flat_map(|p| records(p)).collect();
    let first = 20 - lines.len();
    assert!(lines.len() >= 9, "three files of four lines, but for the newest: {lines:?}");
    assert!(lines.iter().enumerate().all(|(i, l)| *l == format!("stdout F line {}", first + i)), "{lines:?}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ctr.log", "ctr.log.1", "ctr.log.2"]);
}

#[test]
fn no_file_is_larger_than_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = open(dir.path(), Some(500), 9);
    log.write(Stream::Stdout, "a line\n".repeat(50).as_bytes()).unwrap();
    // Of 47 bytes each.
    for path in [1, 2, 3, 4].map(|n| numbered(&path, n)).iter().chain([&path]) {
        assert_eq!(records(path).len(), 10, "{}", path.display());
    }
}

#[test]
fn a_single_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), Some(100), 1);
    for i in 0..9 {
        log.write(Stream::Stderr, format!("line {i}\n").as_bytes()).unwrap();
    }
    assert_eq!(records(&dir.path().join("ctr.log")), ["stderr F line 8"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn half_a_record_of_a_crash_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    for (left, kept) in [
        ("2026-01-01T00:00:00.000000000Z stdout F a\n2026-01-01T00:0", "a\n"),
        ("2026-01-01T00:00:00.000000000Z stdou", ""),
        ("", ""),
    ] {
        std::fs::write(&path, left).unwrap();
        assert_eq!(shown(&path), kept);
        open(dir.path(), None, 1).write(Stream::Stdout, b"b\n").unwrap();
        assert_eq!(shown(&path), format!("{kept}b\n"));
    }
}

/// F15: a write that fails half-way left half a record, and the next one was glued to it.
#[test]
fn what_does_not_fit_leaves_no_half_record() {
    // The signal that comes with it ends the process by default; blocked, the write fails.
    set_mask(&SignalSet::of(&[25])).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = open(dir.path(), None, 1);
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    log.write(Stream::Stdout, b"one\n").unwrap();
    log.write(Stream::Stderr, b"begun ").unwrap();
    // A record has 41 bytes and its text.
    limit(Some(160));
    let mut follower =
        Reader::open(&path, Format::K8sFile, Options { follow: true, ..Options::default() }).unwrap();
    let mut seen = String::new();
    let mut follow = |seen: &mut String| {
        while let Some(record) = follower.next_record().unwrap() {
            *seen += &String::from_utf8_lossy(&record.text);
            *seen += if record.partial { "" } else { "\n" };
        }
    };
    follow(&mut seen);
    log.write(Stream::Stdout, b"two\nthree\nfour\n").unwrap_err();
    assert_eq!(records(&path), ["stdout F one", "stderr P begun ", "stdout F two"]);
    follow(&mut seen);
    log.write(Stream::Stdout, b"a line too long for what is left of the file\n").unwrap_err();
    follow(&mut seen);
    limit(None);
    // What was lost may have ended the line.
    log.write(Stream::Stderr, b"five\n").unwrap();
    follow(&mut seen);
    assert_eq!(records(&path)[3..], ["stderr F ", "stderr F five"]);
    assert_eq!(seen, "one\nbegun two\n\nfive\n");
    assert_eq!(shown(&path), seen);
}

#[test]
fn a_log_that_cannot_be_rotated_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = open(dir.path(), Some(100), 2);
    // Nothing can be renamed to that.
    std::fs::create_dir(numbered(&path, 1)).unwrap();
    for i in 0..9 {
        log.write(Stream::Stdout, format!("{i}\n").as_bytes()).unwrap();
    }
    assert_eq!(shown(&path), "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
    std::fs::remove_dir(numbered(&path, 1)).unwrap();
    log.write(Stream::Stdout, b"9\n").unwrap();
    assert_eq!(shown(&path), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_eq!(records(&path), ["stdout F 9"]);
}

#[test]
fn a_log_that_keeps_nothing_writes_nothing() {
    let mut log = Writer::open(Settings::Nothing).unwrap();
    log.write(Stream::Stdout, b"gone\n").unwrap();
}

#[test]
fn a_file_whose_first_line_is_old_is_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    std::fs::write(&path, "2026-01-01T00:00:00.000000000Z stdout F old\n").unwrap();
    let rotation = Rotation { max_age: Some(3600), max_files: 2, ..Rotation::default() };
    let mut log = Writer::open(Settings::file(&path, rotation)).unwrap();
    for text in [b"a\n", b"b\n"] {
        log.write(Stream::Stdout, text).unwrap();
    }
    assert_eq!(records(&numbered(&path, 1)), ["stdout F old"]);
    assert_eq!(records(&path), ["stdout F a", "stdout F b"]);
}

/// Does what is to be done for the log, as another process would.
fn do_chores(log: &mut Writer) {
    while let Some(chore) = log.chore() {
        chore.run().unwrap();
        log.end_chore(true).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn compressing(path: &Path, max_files: u32) -> Writer {
    let rotation = Rotation { max_size: Some(200), max_files, compress: true, ..Rotation::default() };
    Writer::open(Settings::file(path, rotation)).unwrap()
}

#[test]
fn older_files_are_compressed_and_read_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = compressing(&path, 4);
    for i in 0..16 {
        log.write(Stream::Stdout, format!("line {i:02}\n").as_bytes()).unwrap();
        do_chores(&mut log);
    }
    assert_eq!(names(dir.path()), ["ctr.log", "ctr.log.1.gz", "ctr.log.2.gz", "ctr.log.3.gz"]);
    let all: Vec<_> = (0..16).map(|i| format!("line {i:02}\n")).collect();
    assert_eq!(shown(&path), all.concat());
    for tail in 0..17 {
        let options = Options { tail: Some(tail), ..Options::default() };
        let mut reader = Reader::open(&path, Format::K8sFile, options).unwrap();
        let mut lines = 0;
        while reader.next_record().unwrap().is_some() {
            lines += 1;
        }
        assert_eq!(lines, tail);
    }
    // Nothing is left of what they were read through.
    assert_eq!(names(dir.path()).len(), 4);
}

#[test]
fn a_file_that_is_rotated_while_it_is_compressed_gets_its_new_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = compressing(&path, 3);
    let mut line = 0;
    let mut fill = |log: &mut Writer| {
        for _ in 0..4 {
            log.write(Stream::Stdout, format!("line {line:02}\n").as_bytes()).unwrap();
            line += 1;
        }
    };
    fill(&mut log);
    assert!(log.chore().is_none());
    fill(&mut log);
    let chore = log.chore().unwrap();
    assert!(log.chore().is_none(), "one at a time");
    chore.run().unwrap();
    fill(&mut log);
    log.end_chore(true).unwrap();
    assert_eq!(names(dir.path()), ["ctr.log", "ctr.log.1", "ctr.log.2.gz"]);
    let chore = log.chore().unwrap();
    chore.run().unwrap();
    fill(&mut log);
    fill(&mut log);
    // It is not there any more.
    log.end_chore(true).unwrap();
    do_chores(&mut log);
    assert_eq!(names(dir.path()), ["ctr.log", "ctr.log.1.gz", "ctr.log.2.gz"]);
    assert_eq!(shown(&path).lines().next(), Some("line 08"));
    // What failed is tried again with the next file.
    fill(&mut log);
    assert!(log.chore().is_some());
    log.end_chore(false).unwrap();
    assert!(log.chore().is_none());
    fill(&mut log);
    do_chores(&mut log);
    assert_eq!(names(dir.path()), ["ctr.log", "ctr.log.1.gz", "ctr.log.2.gz"]);
    assert_eq!(shown(&path).lines().count(), 12);
}

#[test]
fn what_a_crash_leaves_beside_a_log_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let mut log = compressing(&path, 3);
    for i in 0..8 {
        log.write(Stream::Stdout, format!("line {i:02}\n").as_bytes()).unwrap();
    }
    let chore = log.chore().unwrap();
    chore.run().unwrap();
    drop(log);
    // In each state in which a writer can be killed.
    let packed = dir.path().join("ctr.log.gz.new");
    let both = dir.path().join("ctr.log.1.gz");
    std::fs::copy(&packed, &both).unwrap();
    std::fs::write(dir.path().join("ctr.log.new"), "").unwrap();
    assert_eq!(shown(&path).lines().count(), 8);
    let mut log = compressing(&path, 3);
    assert_eq!(names(dir.path()), ["ctr.log", "ctr.log.1.gz"]);
    assert!(log.chore().is_none());
    assert_eq!(shown(&path).lines().count(), 8);
}

#[test]
fn a_character_is_not_cut_in_two_where_a_record_cannot_have_a_part_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctr.log");
    let settings = Settings::Files {
        path: path.clone(),
        format: Format::JsonFile,
        rotation: Rotation::default(),
        attributes: [("tier".to_owned(), "front".to_owned())].into(),
    };
    let mut log = Writer::open(settings).unwrap();
    let text = "a\u{e4}\u{20ac}\u{1f600}\n\"q\"\n\u{20ac}".as_bytes();
    for byte in text {
        log.write(Stream::Stdout, &[*byte]).unwrap();
    }
    log.write(Stream::Stderr, b"\xe2\x82").unwrap();
    log.finish(Stream::Stdout).unwrap();
    log.finish(Stream::Stderr).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut reader = Reader::open(&path, Format::JsonFile, Options::default()).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        let to = if record.stream == Stream::Stdout { &mut out } else { &mut err };
        to.extend_from_slice(&record.text);
        to.extend_from_slice(if record.partial { b"" } else { b"\n" });
    }
    assert_eq!(out, text);
    assert_eq!(String::from_utf8(err).unwrap(), "\u{fffd}\u{fffd}");
    let lines = std::fs::read_to_string(&path).unwrap();
    assert!(lines.lines().all(|l| l.contains(",\"attrs\":{\"tier\":\"front\"},\"time\":\"")), "{lines}");
}
