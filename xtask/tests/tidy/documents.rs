//! ARCHITECTURE.md and SPECIFICATION.md name crates, tests and benchmarks that exist.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use xtask::run::output;

use crate::graph::{DEVELOPMENT, ORDER};
use crate::source::rust_files;

fn document(name: &str) -> String {
    fs::read_to_string(xtask::run::workspace().join(name)).unwrap_or_else(|e| panic!("read {name}: {e}"))
}

/// What stands between back-quotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether a reference such as `loment::e2e pull::holes_of_a_file_stay_holes` or `cargo xtask bench run` can be found.
fn exists(reference: &str) -> bool {
    if let Some(part) = reference.strip_prefix("cargo xtask bench ") {
        return xtask::bench::NAMES.contains(&part);
    }
    if let Some(command) = reference.strip_prefix("cargo xtask ") {
        return ["test", "leaks", "symbols", "bench", "docs", "vm", "vm-test"].contains(&command);
    }
    let Some((place, path)) = reference.split_once(' ') else { return false };
    let (package, binary) = place.split_once("::").map_or((place, None), |(p, b)| (p, Some(b)));
    let directory = match package {
        "loment" | "xtask" => package.to_owned(),
        _ => format!("crates/{}", package.trim_start_matches("loment-")),
    };
    let start = match binary {
        Some(binary) => format!("{directory}/tests/{binary}"),
        None => format!("{directory}/src/"),
    };
    let (modules, function) = path.rsplit_once("::").unwrap_or(("", path));
    // One of properties has parameters.
    let test = format!("fn {function}(");
    rust_files(&directory).iter().any(|(file, text)| {
        let in_module = modules
            .split("::")
            .filter(|m| *m != "tests")
            .all(|m| file.contains(m) || text.contains(&format!("mod {m}")));
        file.starts_with(&start) && in_module && text.split("#[test]").skip(1).any(|t| declares(t, &test))
    })
}

/// Whether the text after a `#[test]` declares that function, further attributes aside.
fn declares(after: &str, test: &str) -> bool {
    let mut lines = after.lines().map(str::trim);
    lines.find(|l| !l.is_empty() && !l.starts_with("#[")).is_some_and(|l| l.starts_with(test))
}

/// Whether something in back-quotes is meant as one.
fn is_reference(quoted: &str) -> bool {
    let is_path = |p: &str| p.len() > 2 && p.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
    let test = quoted.split_once(' ').is_some_and(|(place, path)| {
        (place.starts_with("loment") || place.starts_with("xtask"))
            && quoted.contains("::")
            && is_path(place)
            && is_path(path)
    });
    let one_part = quoted.strip_prefix("cargo xtask bench ").is_none_or(|parts| !parts.contains(' '));
    test || (quoted.starts_with("cargo xtask ") && one_part && !quoted.ends_with('…'))
}

#[test]
fn every_test_and_benchmark_that_is_named_exists() {
    let mut missing = Vec::new();
    for name in ["ARCHITECTURE.md", "SPECIFICATION.md", "SECURITY.md", "CONTRIBUTING.md"] {
        let text = document(name);
        let references = quoted(&text).into_iter().filter(|q| is_reference(q));
        missing.extend(references.filter(|r| !exists(r)).map(|r| format!("{name}: {r}")));
    }
    assert!(missing.is_empty(), "named but not there: {missing:#?}");
}

#[test]
fn every_test_that_is_left_out_exists() {
    let missing: Vec<_> =
        xtask::test::left_out().filter(|test| !exists(&format!("loment::e2e {test}"))).collect();
    assert!(missing.is_empty(), "left out but not there: {missing:?}");
}

#[test]
fn every_promise_names_what_holds_it() {
    let text = document("SPECIFICATION.md");
    let is_number = |cell: &str| {
        cell.starts_with(['P', 'B'])
            && cell.len() > 1
            && cell[1..].chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let rows = text
        .lines()
        .filter_map(|l| l.strip_prefix("| "))
        .filter(|l| is_number(l.split(" |").next().unwrap_or("")));
    let mut numbers: Vec<&str> = Vec::new();
    for row in rows {
        let number = row.split(" |").next().unwrap();
        let holder = row.trim_end_matches('|').rsplit("| ").next().unwrap();
        assert!(
            quoted(holder).iter().any(|q| is_reference(q)),
            "{number} names neither a test nor a benchmark"
        );
        assert!(!numbers.contains(&number), "{number} is there twice");
        numbers.push(number);
    }
    assert!(numbers.len() > 20, "only {numbers:?}");
}

#[test]
fn the_code_map_has_every_crate_in_the_order_of_dependencies() {
    let text = document("ARCHITECTURE.md");
    let map = text.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<_> = map.lines().filter_map(|l| l.strip_prefix("**`")?.split('`').next()).collect();
    let path = |package: &&str| match *package {
        "loment" | "xtask" => (*package).to_owned(),
        other => format!("crates/{}", other.trim_start_matches("loment-")),
    };
    let wanted: Vec<_> = ORDER.iter().chain(DEVELOPMENT).map(path).collect();
    assert_eq!(listed, wanted);
}

#[test]
fn every_file_of_the_code_map_is_there() {
    let text = document("ARCHITECTURE.md");
    let map = text.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut missing = Vec::new();
    for entry in map.split("**`").skip(1) {
        let root = xtask::run::workspace().join(entry.split('`').next().unwrap());
        let named = quoted(entry.split_once('`').unwrap().1).into_iter();
        for file in named.filter(|f| f.ends_with(".rs") || (f.ends_with('/') && !f.starts_with('/'))) {
            if !["src", "src/commands", ""].iter().any(|d| root.join(d).join(file).exists()) {
                missing.push(format!("{}: {file}", root.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named but not there: {missing:#?}");
}

#[test]
fn every_invariant_names_its_check() {
    let text = document("ARCHITECTURE.md");
    let section = text.split("## Invariants").nth(1).unwrap().split("\n## ").next().unwrap();
    let items: Vec<_> = section.split("\n").filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).collect();
    let bodies: Vec<_> = section.split("\n\n").nth(2).map_or_else(Vec::new, numbered);
    assert_eq!(items.len(), bodies.len());
    for body in bodies {
        assert!(quoted(&body).iter().any(|q| is_reference(q)), "no test named in: {body}");
    }
}

/// The items of a numbered list, each with its further lines.
fn numbered(list: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in list.lines() {
        match items.last_mut() {
            Some(item) if !line.starts_with(|c: char| c.is_ascii_digit()) => item.push_str(line),
            _ => items.push(line.to_owned()),
        }
    }
    items
}

#[test]
fn the_tables_of_flags_and_the_man_pages_are_those_of_the_parsers() {
    let dir = tempfile::tempdir().unwrap();
    output(Command::new(env!("CARGO_BIN_EXE_docs")).arg("--check").arg(dir.path())).unwrap();
    let pages: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let leads_on = |page: &&PathBuf| fs::read_to_string(page).unwrap().starts_with(".so ");
    let whole: Vec<_> = pages.iter().filter(|page| !leads_on(page)).collect();
    assert!(whole.len() > 80 && whole.len() < pages.len());
    // They say of no day that they were written then, which is worth a warning.
    let complaints = output(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(whole)).unwrap();
    assert_eq!(complaints, "");
    let run = dir.path().join("loment-run.1");
    let text = output(Command::new("mandoc").args(["-T", "utf8"]).arg(run)).unwrap();
    // Bold is overstruck.
    let plain = text.chars().fold(String::new(), |mut text, c| {
        match c {
            '\u{8}' => drop(text.pop()),
            c => text.push(c),
        }
        text
    });
    assert!(plain.contains("--memory SIZE") && plain.contains("loment run [OPTIONS] <IMAGE>"), "{plain}");
}

#[test]
fn a_reference_to_nothing_is_found_out() {
    assert!(exists("xtask::tidy documents::a_reference_to_nothing_is_found_out"));
    assert!(!exists("xtask::tidy documents::no_such_test"));
    assert!(!exists("cargo xtask bench no-such-part"));
    assert!(!exists("loment::e2e documents::a_reference_to_nothing_is_found_out"));
}
