use std::fs;

use serde_json::json;

use super::*;
use crate::{Bundle, Error};

fn record(id: &Id) -> Record {
    Record {
        version: VERSION,
        id: id.clone(),
        pid: std::process::id() as i32,
        start_time: process_start_time(std::process::id() as i32).unwrap(),
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        cgroup: None,
        unit: None,
        class: None,
        created: String::new(),
        owner: 0,
        keyring: true,
        attended: false,
        annotations: Default::default(),
    }
}

fn states() -> (tempfile::TempDir, States, Id) {
    let dir = tempfile::tempdir().unwrap();
    let states = States::new(dir.path().join("root"));
    (dir, states, Id::new("c").unwrap())
}

#[test]
fn ids_that_could_climb_are_refused() {
    for bad in ["", ".", "..", "a/b", ".hidden", "a b", "é", "a\0"] {
        assert!(Id::new(bad).is_err(), "{bad:?}");
    }
    assert!(Id::new("a_B+9.c-d").is_ok());
}

#[test]
fn a_process_is_known_by_its_start_time() {
    assert!(process_start_time(std::process::id() as i32).is_some());
    assert!(process_start_time(0).is_none());
    // Whatever the process calls itself.
    std::thread::spawn(|| {
        std::fs::write("/proc/thread-self/comm", b"a) R \xff").unwrap();
        let tid = std::fs::read_link("/proc/thread-self").unwrap();
        let tid = tid.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert!(process_start_time(tid).is_some());
    })
    .join()
    .unwrap();
}

#[test]
fn an_id_is_taken_once() {
    let (_dir, states, id) = states();
    let first = states.reserve(&id).unwrap();
    assert!(matches!(states.reserve(&id), Err(Error::Exists { .. })));
    assert!(matches!(states.forget(&id), Err(Error::Busy { .. })));
    states.save(&record(&id)).unwrap();
    assert_eq!(states.load(&id).unwrap().status(&states.dir(&id)).unwrap(), Status::Creating);
    drop(first);
    assert_eq!(states.load(&id).unwrap().status(&states.dir(&id)).unwrap(), Status::Running);
    let error = states.reserve(&id).unwrap_err().to_string();
    // runc's words.
    assert!(error.contains("container with given ID already exists"), "{error}");
    assert!(states.forget(&id).unwrap());
    assert!(!states.forget(&id).unwrap());
    drop(states.reserve(&id).unwrap());
    // Its creator is gone without a trace of a container: the id is free.
    drop(states.reserve(&id).unwrap());
    assert!(matches!(states.load(&id), Err(Error::NotFound { .. })));
}

#[test]
fn of_many_that_want_an_id_one_gets_it() {
    let (_dir, states, id) = states();
    for _ in 0..20 {
        let won = std::thread::scope(|scope| {
            let one = || {
                let got = states.reserve(&id);
                if got.is_ok() {
                    states.save(&record(&id)).unwrap();
                }
                got.is_ok()
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|t| usize::from(t.join().unwrap())).sum::<usize>()
        });
        assert_eq!(won, 1);
        states.forget(&id).unwrap();
    }
}

#[test]
fn the_configuration_is_kept_as_it_was() {
    let (dir, states, id) = states();
    let config = dir.path().join("config.json");
    fs::write(&config, r#"{"ociVersion": "1.0.0", "hostname": "first"}"#).unwrap();
    let bundle = Bundle::load(dir.path()).unwrap();
    let _reservation = states.reserve(&id).unwrap();
    states.keep_config(&id, &bundle).unwrap();
    fs::write(&config, "{}").unwrap();
    let kept = states.config(&Record { bundle: bundle.path.clone(), ..record(&id) }).unwrap();
    assert_eq!(kept.spec.hostname().as_deref(), Some("first"));
    assert_eq!(kept.path, bundle.path);
}

#[test]
fn what_is_not_ours_is_refused_by_name() {
    let (_dir, states, id) = states();
    let cases = [
        (json!({"id": "c", "init_process_pid": 1, "config": {}}).to_string(), "runc"),
        (json!({"ociVersion": "1.0.2", "id": "c", "pid": 7}).to_string(), "another runtime"),
        (json!({"version": 99, "id": "c"}).to_string(), "version 99"),
        (json!({"version": VERSION, "id": "c"}).to_string(), "damaged"),
        ("{\"version\": 2, \"id".to_owned(), "damaged"),
        (serde_json::to_string(&record(&Id::new("other").unwrap())).unwrap(), "damaged"),
        (String::new(), "damaged"),
    ];
    fs::create_dir_all(states.dir(&id)).unwrap();
    for (text, word) in cases {
        fs::write(states.dir(&id).join(STATE), &text).unwrap();
        let error = states.load(&id).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("state.json"), "{text}: {error}");
        assert!(matches!(states.reserve(&id), Err(Error::Exists { .. })), "{text}");
        assert_eq!(fs::read_to_string(states.dir(&id).join(STATE)).unwrap(), text);
    }
    fs::remove_file(states.dir(&id).join(STATE)).unwrap();
    fs::write(states.dir(&id).join("status"), "{}").unwrap();
    assert!(states.load(&id).unwrap_err().to_string().contains("crun"));
    assert!(matches!(states.reserve(&id), Err(Error::Exists { .. })));
}
