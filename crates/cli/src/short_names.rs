//! Short names that several registries might have: asks which one is meant, and remembers the answer.

use std::io::{BufRead, Write};
use std::path::Path;

use loment_engine::Prompt;
use loment_image::{Reference, ShortNames};

use crate::ecosystem;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{complain, print};

/// What a name without a registry means: Docker's rule, or what the ecosystem's configuration says.
pub(crate) fn short_names(globals: &Globals) -> Result<ShortNames, Error> {
    match globals.persona.docker_hub {
        true => Ok(ShortNames::docker()),
        false => Ok(ecosystem::registries(globals.chosen.registries_conf.as_deref())?.short_names()),
    }
}

/// Somebody to ask, if there is a terminal.
pub(crate) fn prompt() -> Option<Prompt> {
    let terminal = |stream: &dyn std::os::fd::AsFd| rustix::termios::isatty(stream.as_fd());
    let somebody = terminal(&std::io::stdin()) && terminal(&std::io::stdout());
    somebody.then_some(Prompt { choose, record })
}

/// Shows candidates and reads a number.
fn choose(candidates: &[Reference]) -> std::io::Result<usize> {
    let mut text = "Please select an image:\n".to_owned();
    for (number, candidate) in (1..).zip(candidates) {
        text += &format!("  {number}) {}\n", candidate.store_name());
    }
    let failed = |e: Error| std::io::Error::other(crate::error::one_line(&e));
    print(&text).map_err(failed)?;
    loop {
        print(&format!("Number [1-{}]: ", candidates.len())).map_err(failed)?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=candidates.len()).contains(&number) => return Ok(number - 1),
            _ => complain("That is not one of the numbers."),
        }
    }
}

/// Remembers what a short name stands for, for every engine that reads the file.
fn record(short: &str, chosen: &Reference) {
    let Some(path) = ecosystem::recorded_aliases() else { return };
    if let Err(error) = write(&path, short, &chosen.name()) {
        let text = crate::error::one_line(&error);
        complain(&format!("Warning: the choice for {short:?} is not remembered: {text}"));
    }
}

fn write(path: &Path, short: &str, name: &str) -> Result<(), Error> {
    let doing = || format!("write {}", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).doing(doing)?;
    // The lock that others take is of another kind; what they write at the same moment is lost at worst.
    let old = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.doing(|| format!("read {}", path.display()))?,
    };
    let parse = |e: toml::de::Error| Error::Invalid(format!("parse {}: {}", path.display(), e.message()));
    let mut table: toml::Table = old.parse().map_err(parse)?;
    let aliases = table.entry("aliases").or_insert_with(|| toml::Table::new().into());
    match aliases.as_table_mut() {
        Some(aliases) => drop(aliases.insert(short.to_owned(), name.into())),
        None => return Err(Error::Invalid(format!("parse {}: aliases is not a table", path.display()))),
    }
    let new = path.with_extension("conf.loment");
    let mut file = std::fs::File::create(&new).doing(doing)?;
    file.write_all(table.to_string().as_bytes()).and_then(|()| file.sync_all()).doing(doing)?;
    std::fs::rename(&new, path).doing(doing)
}
