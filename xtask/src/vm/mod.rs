//! `cargo xtask vm` and `cargo xtask vm-test`: what this machine cannot show, on a Debian of our own.
//!
//! A machine with systemd, all v2 controllers, ordinary users and Debian's kernel is booted under QEMU without hardware
//! help. Its disk is made once ([`image`], [`initrd`]) and never changed again: each boot ([`boot`]) writes to a layer
//! that has no name and is gone with QEMU. The files a run needs lie in the guest where they lie here, because test
//! programs contain such paths. Our own program is the guest's side ([`guest`]); what the two say to each other is in
//! [`protocol`]. [`tests`] chooses and runs tests.
//!
//! Nothing outlives xtask: every program it starts dies with it, and files of a run are deleted before they are used.

pub mod boot;
pub mod guest;
pub mod image;
pub mod initrd;
pub mod protocol;
pub mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::{packages, run};
use boot::{Groups, Security, Setting};
use protocol::Task;

/// The releases of Debian whose machines can be made: the oldest kernel that is tested, and a current one.
pub const SUITES: &[&str] = &["bookworm", "trixie"];

/// What both commands understand, and the words that are left.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    suite: String,
    cache: Option<PathBuf>,
    groups: Vec<Groups>,
    end_to_end: Vec<String>,
    rest: Vec<String>,
}

impl Options {
    fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            suite: SUITES[0].to_owned(),
            cache: None,
            groups: Vec::new(),
            end_to_end: Vec::new(),
            rest: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "--suite" => options.suite = known_suite(value()?)?,
                "--cache" => options.cache = Some(value()?.into()),
                "--cgroups" => options.groups.push(Groups::parse(value()?)?),
                "--e2e" => options.end_to_end.push((*value()?).to_owned()),
                "--" => options.rest.extend(words.by_ref().map(|w| (*w).to_owned())),
                option if option.starts_with('-') => bail!("unknown option {option}"),
                name => options.rest.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    /// The machine's image, made now when it is not there.
    fn image(&self) -> anyhow::Result<image::Image> {
        if !packages::is_root()? {
            bail!("a Debian is made by root: run as root, for example `sudo -E cargo xtask vm`");
        }
        packages::install(packages::MACHINE)?;
        let cache = match &self.cache {
            Some(dir) => dir.clone(),
            None => image::default_cache()?,
        };
        image::cached(&cache, &self.suite)
    }
}

fn known_suite(name: &str) -> anyhow::Result<String> {
    if !SUITES.contains(&name) {
        bail!("unknown suite {name:?}: choose from {}", SUITES.join(", "));
    }
    Ok(name.to_owned())
}

/// `vm [--suite S] [--cache DIR] [--cgroups G] [-- COMMAND…]`: makes the image; with a command, runs it in the machine as
/// root.
pub fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(arguments)?;
    if !options.end_to_end.is_empty() {
        bail!("--e2e belongs to vm-test");
    }
    let image = options.image()?;
    println!("{}", image.directory().display());
    if options.rest.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let groups = options.groups.first().copied().unwrap_or(Groups::V2);
    let setting = Setting { groups, security: Security::AppArmor };
    let share = boot::share(&[run::build_loment("dev")?])?;
    let mut code = ExitCode::SUCCESS;
    boot::run(&image, setting, &share, &[Task::of_root("command", options.rest)], |result| {
        print!("{}", result.output);
        if result.status != 0 {
            code = ExitCode::FAILURE;
        }
    })?;
    Ok(code)
}

/// `vm-test [--suite S] [--cache DIR] [--cgroups G]… [--e2e FILTER]… [NAMES…]`.
pub fn run_tests(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let mut options = Options::parse(arguments)?;
    let image = options.image()?;
    if options.groups.is_empty() {
        options.groups = Groups::of_suite(&options.suite).to_vec();
    }
    tests::run(&image, &options.groups, &options.rest, &options.end_to_end)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn options_are_told_from_names() {
        let words = ["--suite", "trixie", "limits::", "--cgroups", "v1", "--e2e", "exec::", "--", "--odd"];
        let options = Options::parse(&words).unwrap();
        assert_eq!(options.suite, "trixie");
        assert_eq!(options.groups, [Groups::V1]);
        assert_eq!(options.end_to_end, ["exec::"]);
        assert_eq!(options.rest, ["limits::", "--odd"]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [&["--suite", "sid"][..], &["--suite"], &["--cgroups", "v3"], &["--unknown"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
