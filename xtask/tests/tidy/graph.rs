//! Invariants on the graph of dependencies, as cargo resolves it for the release build.

use std::collections::{BTreeMap, BTreeSet};

use xtask::run::{cargo, output, workspace};

use crate::source::crates;

/// From top to bottom: a crate depends only on crates that stand below it.
pub(crate) const ORDER: &[&str] = &[
    "loment",
    "loment-cli",
    "loment-engine",
    "loment-image",
    "loment-monitor",
    "loment-events",
    "loment-logs",
    "loment-runtime",
    "loment-registry",
    "loment-store",
    "loment-seccomp",
    "loment-cgroup",
    "loment-net",
    "loment-sys",
];

/// Ours, and not part of what is shipped.
pub(crate) const DEVELOPMENT: &[&str] = &["loment-testkit", "xtask"];

/// Licences that let us ship one binary under Apache-2.0.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates in the release graph, counted with what only builds need.
const BUDGET: usize = 170;

/// The crates that `package` is built from: name and version to licence. `edges` as for `cargo tree --edges`.
fn tree(package: &str, edges: &str) -> BTreeMap<String, String> {
    let arguments = ["tree", "--locked", "--package", package, "--edges", edges, "--prefix", "none"];
    let text = output(cargo(arguments).args(["--no-dedupe", "--format", "{p}|{l}"])).unwrap();
    let lines = text.lines().filter_map(|l| l.split_once('|'));
    lines
        .map(|(p, l)| (p.split(" (").next().unwrap().to_owned(), l.trim_end_matches(" (*)").to_owned()))
        .collect()
}

fn name(package: &str) -> &str {
    package.split(' ').next().unwrap()
}

/// What `package` itself asks for, without what those ask for in turn.
fn direct(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"];
    let text = output(cargo(arguments).args(["--depth", "1", "--format", "{p}"])).unwrap();
    text.lines().skip(1).map(|l| name(l).to_owned()).collect()
}

#[test]
fn dependencies_point_down() {
    let mut found = Vec::new();
    for (height, package) in ORDER.iter().enumerate() {
        for dependency in direct(package).iter().filter(|d| d.starts_with("loment")) {
            match ORDER.iter().position(|o| o == dependency) {
                Some(place) if place > height => {}
                _ => found.push(format!("{package} -> {dependency}")),
            }
        }
    }
    assert!(found.is_empty(), "edges that do not point down: {found:#?}");
}

#[test]
fn every_crate_has_its_place_in_the_order() {
    for name in crates() {
        let package = format!("loment-{name}");
        let known = ORDER.contains(&package.as_str()) || DEVELOPMENT.contains(&package.as_str());
        assert!(known, "give {package} a place in the order of {}", file!());
    }
}

#[test]
fn an_async_runtime_is_only_below_the_registry_client() {
    for package in [
        "loment-sys",
        "loment-net",
        "loment-seccomp",
        "loment-cgroup",
        "loment-runtime",
        "loment-logs",
        "loment-monitor",
        "loment-events",
        "loment-store",
    ] {
        let found: Vec<_> =
            tree(package, "normal").into_keys().filter(|p| is_async_runtime(name(p))).collect();
        assert!(found.is_empty(), "{package} is built with {found:?}");
    }
    for package in ["loment-image", "loment-engine", "loment-cli", "loment"] {
        let found: Vec<_> = direct(package).into_iter().filter(|p| is_async_runtime(p)).collect();
        assert!(found.is_empty(), "{package} asks for {found:?} itself");
    }
}

fn is_async_runtime(name: &str) -> bool {
    ["tokio", "async-std", "smol", "futures-executor", "hyper"].contains(&name)
}

#[test]
fn the_engine_knows_no_front_end() {
    let found: Vec<_> = direct("loment-engine")
        .into_iter()
        .filter(|p| {
            ["clap", "clap_builder", "http", "axum", "tonic", "serde-saphyr", "indicatif"]
                .contains(&p.as_str())
        })
        .collect();
    assert!(found.is_empty(), "the engine asks for {found:?}");
}

#[test]
fn the_release_graph_stays_within_its_budget() {
    let graph = tree("loment", "normal,build");
    println!("{} crates", graph.len());
    assert!(graph.len() <= BUDGET, "{} crates, at most {BUDGET}", graph.len());
    let unwanted = ["openssl", "openssl-sys", "native-tls", "aws-lc-sys", "libseccomp-sys"];
    for package in graph.keys() {
        assert!(!unwanted.contains(&name(package)), "{package} is in the release graph");
        assert!(!DEVELOPMENT.contains(&name(package)), "{package} is for development only");
    }
}

#[test]
fn every_licence_lets_us_ship() {
    for (package, licence) in tree("loment", "normal,build") {
        assert!(is_allowed(&licence), "{package} has licence {licence:?}");
    }
}

/// SPDX without parentheses inside alternatives: one of the alternatives must be allowed whole.
fn is_allowed(licence: &str) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" OR ").any(|choice| choice.split(" AND ").all(|l| LICENCES.contains(&l.trim())))
}

#[test]
fn licences_are_read_as_alternatives() {
    assert!(is_allowed("MIT OR Apache-2.0"));
    assert!(is_allowed("MPL-2.0 OR LGPL-3.0-or-later"));
    assert!(is_allowed("Apache-2.0 AND ISC"));
    assert!(!is_allowed("GPL-3.0"));
    assert!(!is_allowed("MIT AND GPL-2.0"));
    assert!(!is_allowed(""));
}

#[test]
fn the_workspace_forbids_unsafe_code() {
    let text = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(text.contains("unsafe_code = \"deny\""));
}
