//! Invariants that can be read off the text of our source files.

use crate::source::{contains_word, crates, places, rust_files};

/// The crates that print, read the environment and choose exit statuses. `testkit` is not part of the product.
const EDGE: &[&str] = &["cli", "testkit"];

fn libraries() -> Vec<String> {
    crates().into_iter().filter(|c| !EDGE.contains(&c.as_str())).collect()
}

#[test]
fn only_sys_contains_unsafe_code() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait", "(unsafe_code"];
    let mut found = Vec::new();
    for directory in ["crates", "loment", "xtask"] {
        for (file, text) in rust_files(directory) {
            if file.starts_with("crates/sys/") {
                continue;
            }
            let lines = text.lines().enumerate();
            found.extend(
                lines
                    .filter(|(_, l)| words.iter().any(|w| contains_word(l, w)))
                    .map(|(i, _)| format!("{file}:{}", i + 1)),
            );
        }
    }
    assert!(found.is_empty(), "unsafe code belongs in crates/sys: {found:#?}");
}

#[test]
fn libraries_do_not_print_exit_or_read_the_environment() {
    let words = [
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "dbg!",
        "std::process::exit",
        "env::var",
        "env::var_os",
        "env::vars",
        "env::vars_os",
        "env::home_dir",
        "env::args",
        "env::set_var",
    ];
    let found: Vec<_> = libraries().iter().flat_map(|c| places(c, &words)).collect();
    assert!(found.is_empty(), "only the command line does this: {found:#?}");
}

#[test]
fn no_library_executes_another_program() {
    let found: Vec<_> =
        libraries().iter().flat_map(|c| places(c, &["process::Command", "Command::new"])).collect();
    assert!(found.is_empty(), "what runs a container executes nothing but its program: {found:#?}");
}

#[test]
fn what_clones_containers_starts_no_threads() {
    let words = ["thread::spawn", "thread::scope", "thread::Builder"];
    let found: Vec<_> = ["sys", "net", "cgroup", "seccomp", "runtime", "logs", "monitor"]
        .iter()
        .flat_map(|c| places(c, &words))
        .collect();
    assert!(found.is_empty(), "a child of a process with threads may not allocate: {found:#?}");
}

#[test]
fn a_file_has_at_most_600_lines() {
    let files = ["crates", "loment", "xtask"].into_iter().flat_map(rust_files);
    let long: Vec<_> = files
        .filter(|(_, t)| t.lines().count() > 600)
        .map(|(f, t)| format!("{f}: {}", t.lines().count()))
        .collect();
    assert!(long.is_empty(), "files with more than one subject: {long:#?}");
}

#[test]
fn a_library_opens_with_what_it_does_and_an_example() {
    let mut found = Vec::new();
    for name in libraries() {
        let file = format!("crates/{name}/src/lib.rs");
        let text = std::fs::read_to_string(xtask::run::workspace().join(&file)).unwrap();
        let opening: Vec<_> = text.lines().take_while(|l| l.starts_with("//!")).collect();
        if !opening.iter().any(|l| l.starts_with("//! ```")) {
            found.push(file);
        }
    }
    assert!(found.is_empty(), "no example at the top of: {found:#?}");
}

#[test]
fn errors_have_no_variant_for_everything_else() {
    let found: Vec<_> = libraries().iter().flat_map(|c| places(c, &["Other(String)"])).collect();
    assert!(found.is_empty(), "a variant names operation and object: {found:#?}");
}
