//! Reading our own source files.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `directory` of the workspace, with its path from the top of the workspace.
pub(crate) fn rust_files(directory: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    collect(&xtask::run::workspace().join(directory), &mut paths);
    assert!(!paths.is_empty(), "there is no Rust file in {directory}");
    let name = |p: &Path| p.strip_prefix(xtask::run::workspace()).unwrap().display().to_string();
    paths.into_iter().map(|p| (name(&p), fs::read_to_string(&p).unwrap())).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                collect(&path, paths);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

/// The crates in `crates/`.
pub(crate) fn crates() -> Vec<String> {
    let entries = fs::read_dir(xtask::run::workspace().join("crates")).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap())
        .filter(|e| e.path().join("Cargo.toml").exists())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Lines of code that are part of the product, with their numbers: no comments, no unit tests, no string contents.
pub(crate) fn product_lines<'a>(name: &str, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
    let end = if is_test { 0 } else { text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len()) };
    let lines = text[..end].lines().enumerate().map(|(i, l)| (i + 1, l));
    lines.filter(|(_, l)| !l.trim_start().starts_with("//"))
}

/// Places in the product code of `crates/NAME` that contain one of `words`.
pub(crate) fn places(name: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in rust_files(&format!("crates/{name}/src")) {
        for (number, line) in product_lines(&file, &text) {
            if let Some(word) = words.iter().find(|w| contains_word(line, w)) {
                found.push(format!("{file}:{number}: {word}"));
            }
        }
    }
    found
}

/// Whether `word` stands in `line` without a letter before it (`eprint!` is not `print!`) and outside a string.
pub(crate) fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = &line[..at];
        let inside_string = before.matches('"').count() % 2 == 1;
        !inside_string && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn words_are_found_whole_and_outside_strings() {
    assert!(contains_word("    print!(\"x\")", "print!"));
    assert!(!contains_word("    eprint!(\"x\")", "print!"));
    assert!(!contains_word("let s = \"a print! b\";", "print!"));
}
