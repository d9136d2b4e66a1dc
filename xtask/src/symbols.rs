//! The link-time rules of the binary: static, and without the name service switch.
//!
//! A statically linked glibc that calls `getaddrinfo` or `getpwnam` loads shared objects of whatever glibc the machine
//! has, and crashes. So the rule is on the symbol table: what is not linked cannot be called.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::run;

/// Names, or beginnings of names where they end with `*`, that must not be defined or referenced.
const FORBIDDEN: &[&str] = &[
    "getaddrinfo",
    "getnameinfo",
    "gethostby*",
    "getpw*",
    "getgrnam*",
    "getgrgid*",
    "getgrent*",
    "getgrouplist",
    "initgroups",
    "getservby*",
    "__nss_lookup*",
    "__nss_database_get",
];

/// Every rule that the binary breaks, one line each.
pub fn violations(binary: &Path) -> anyhow::Result<Vec<String>> {
    let symbols = run::output(Command::new("nm").arg(binary)).context("list symbols")?;
    let headers =
        run::output(Command::new("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(binary))
            .context("list program headers")?;
    Ok(forbidden_symbols(&symbols).chain(dynamic_parts(&headers)).collect())
}

/// Prints what is wrong with the binary.
pub fn run(binary: &Path) -> anyhow::Result<ExitCode> {
    let found = violations(binary)?;
    for violation in &found {
        println!("{}: {violation}", binary.display());
    }
    if found.is_empty() {
        println!("{}: static, no name service switch", binary.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// `nm` prints `address type name`; undefined symbols have no address.
fn forbidden_symbols(nm: &str) -> impl Iterator<Item = String> {
    let names = nm.lines().filter_map(|l| l.split_whitespace().next_back());
    names.filter(|n| is_forbidden(n)).map(|n| format!("contains {n}, which does not work in a static binary"))
}

fn is_forbidden(name: &str) -> bool {
    // A versioned or internal alias is the same function.
    let name = name.split('@').next().unwrap_or(name);
    let spellings =
        [name, name.trim_start_matches("__GI_"), name.trim_start_matches("__GI_").trim_start_matches("__")];
    let matches = |rule: &str, spelling: &str| match rule.strip_suffix('*') {
        Some(start) => spelling.starts_with(start),
        None => spelling == rule,
    };
    FORBIDDEN.iter().any(|rule| spellings.iter().any(|spelling| matches(rule, spelling)))
}

fn dynamic_parts(readelf: &str) -> impl Iterator<Item = String> {
    readelf.lines().filter_map(|l| {
        let l = l.trim();
        if l.starts_with("INTERP") {
            Some("asks for a dynamic loader (INTERP)".to_owned())
        } else if l.contains("(NEEDED)") {
            Some(format!("needs a shared library: {l}"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_service_symbols_are_found_in_every_spelling() {
        let nm = "0000000000401000 T main\n0000000000402000 W getaddrinfo\n                 U getpwuid_r@GLIBC_2.2.5\n\
                  0000000000403000 t __GI___nss_database_get\n0000000000404000 T __getgrnam_r\n";
        let found: Vec<_> = forbidden_symbols(nm).collect();
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn other_symbols_are_left_alone() {
        let nm = "0000000000401000 T getpid\n0000000000402000 T getgid\n0000000000402000 T getgroups\n\
                  0000000000402010 T _ZN6loment10getpwdlike17h0E\n";
        assert_eq!(forbidden_symbols(nm).count(), 0);
    }

    #[test]
    fn dynamic_linking_is_found() {
        let text = "  INTERP 0x000318\n 0x01 (NEEDED) Shared library: [libc.so.6]\n  LOAD 0x0\n";
        assert_eq!(dynamic_parts(text).count(), 2);
        assert_eq!(dynamic_parts("  LOAD 0x0\n There is no dynamic section in this file.\n").count(), 0);
    }
}
