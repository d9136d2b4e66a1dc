//! `container runlabel`

use std::ffi::CString;
use std::path::PathBuf;

use clap::Parser;
use loment_engine::{Engine, PullPolicy, PullSettings};
use loment_image::words;
use loment_store::ImageId;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::access::AccessFlags;
use super::progress;
use super::pull::short_names;
use crate::ecosystem::home;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::{programs, rootless};

/// Run the command that a label of an image says, on this machine
///
/// It may do whatever the caller may do: only for images that are trusted.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print the command instead
    #[arg(long)]
    display: bool,
    /// Put this name in the place of NAME [default: that of the image]
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Remove the container whose name the command gives to a new one
    #[arg(long)]
    replace: bool,
    /// Put this in the place of OPT1
    #[arg(long, hide = true, value_name = "TEXT", default_value = "")]
    opt1: String,
    /// Put this in the place of OPT2
    #[arg(long, hide = true, value_name = "TEXT", default_value = "")]
    opt2: String,
    /// Put this in the place of OPT3
    #[arg(long, hide = true, value_name = "TEXT", default_value = "")]
    opt3: String,
    #[command(flatten)]
    access: AccessFlags,
    /// The label
    #[arg(value_name = "LABEL")]
    label: String,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Arguments that are added to the command
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let settings = PullSettings {
        short_names: short_names(globals)?,
        access: flags.access.access(globals)?,
        ..PullSettings::default()
    };
    let announce = || {
        if !flags.quiet {
            complain(&format!("Trying to pull {}...", flags.image));
        }
    };
    let mut bars = progress::Bars::new(flags.quiet);
    let (id, _) = engine.obtain(&flags.image, PullPolicy::Missing, &settings, &mut bars, announce)?;
    let labels = engine.image_document(&id)?.container.labels;
    let label =
        labels.iter().find(|(name, _)| name.eq_ignore_ascii_case(flags.label.trim_start_matches('/')));
    let Some((_, text)) = label.filter(|(_, text)| !text.trim().is_empty()) else {
        // The words are Podman's.
        let message = format!("cannot find the value of label: {} in image: {}", flags.label, flags.image);
        return Err(Error::Invalid(message));
    };
    let command = command(&engine, flags, &id, text)?;
    let own = globals.persona.name;
    let is_own = is_own(&command[0]);
    if flags.display {
        let shown = if is_own { own } else { &command[0] };
        print(&format!("command: {}\n", [&[shown.to_owned()], &command[1..]].concat().join(" ")))?;
        return Ok(0);
    }
    if flags.replace
        && let Some(at) = command.iter().position(|word| word == "--name")
        && let Some(name) = command.get(at + 1)
    {
        match engine.remove(name, true, None) {
            Err(loment_engine::Error::NoContainer { .. }) => {}
            removed => drop(removed?),
        }
    }
    drop(engine);
    let (path, words) = match is_own {
        true => {
            let places = [("--root", globals.root()), ("--runroot", globals.runroot())];
            let places =
                places.into_iter().flat_map(|(flag, dir)| [flag.to_owned(), dir.display().to_string()]);
            let words = std::iter::once(own.to_owned()).chain(places).chain(command[1..].iter().cloned());
            (PathBuf::from("/proc/self/exe"), words.collect())
        }
        false => {
            let path = match command[0].contains('/') {
                true => Some(PathBuf::from(&command[0])),
                false => programs::find(&command[0]),
            };
            let missing = || Error::Invalid(format!("{}: there is no such program in PATH", command[0]));
            (path.ok_or_else(missing)?, command.clone())
        }
    };
    if flags.quiet {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.doing(|| "open /dev/null".into())?;
        let quiet = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
        quiet.doing(|| "open /dev/null".into())?;
    }
    execute(&path, &words)
}

/// Becomes a program.
fn execute(path: &std::path::Path, words: &[String]) -> Result<u8, Error> {
    let doing = || format!("run {}", path.display());
    let text = |bytes: &[u8]| CString::new(bytes).map_err(std::io::Error::other).doing(doing);
    let argv = words.iter().map(|word| text(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let user = rootless::user().to_string();
    let own = [("PODMAN_RUNLABEL_NESTED", "1"), (rootless::VARIABLE, user.as_str())];
    // The user is somebody else only in the namespace in which this program is root.
    let own = &own[..if rootless::is_rootless() { 2 } else { 1 }];
    let envp = std::env::vars_os()
        .filter(|(name, _)| !own.iter().any(|(other, _)| name == other))
        .chain(own.iter().map(|(name, value)| ((*name).into(), (*value).into())))
        .map(|(name, value)| text(&[name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat()))
        .collect::<Result<Vec<_>, _>>()?;
    let error = loment_sys::exec::execve(&text(path.as_os_str().as_encoded_bytes())?, &argv, &envp);
    Err(error).doing(doing)
}

/// Whether this program is meant.
fn is_own(program: &str) -> bool {
    ["podman", "loment"].contains(&program) || program.rsplit('/').next() == Some("docker")
}

/// The words of a label, with what stands for something replaced.
fn command(engine: &Engine, flags: &Flags, id: &ImageId, text: &str) -> Result<Vec<String>, Error> {
    let record = engine.store().image(id).map_err(loment_engine::Error::from)?;
    let newest = record.and_then(|record| record.names_history.first().cloned());
    let image = newest.unwrap_or_else(|| id.hex().to_owned());
    let name = flags.name.clone().unwrap_or_else(|| {
        let input = if id.hex().starts_with(&flags.image) { &image } else { &flags.image };
        let last = input.rsplit('/').next().unwrap_or_default();
        last.split([':', '@']).next().unwrap_or_default().to_owned()
    });
    let here = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let home = home().map(|home| home.display().to_string()).unwrap_or_default();
    let known = [
        ("IMAGE", image.as_str()),
        ("NAME", name.as_str()),
        ("OPT1", flags.opt1.as_str()),
        ("OPT2", flags.opt2.as_str()),
        ("OPT3", flags.opt3.as_str()),
        ("PWD", here.as_str()),
        ("HOME", home.as_str()),
    ];
    let mut all: Vec<String> = words(text).iter().map(|word| filled(word, &known)).collect();
    all.extend(flags.arguments.iter().cloned());
    // What an option that was not given stood for.
    all.retain(|word| !word.is_empty());
    match all.is_empty() {
        true => Err(Error::Invalid(format!("label {} of {} says no command", flags.label, flags.image))),
        false => Ok(all),
    }
}

/// A word with its variables replaced: `$NAME`, `${NAME}`, and for the first two also `NAME` alone or behind an equals sign.
/// Variables that are not known are empty.
fn filled(word: &str, known: &[(&str, &str)]) -> String {
    for (name, value) in &known[..2] {
        if word == *name {
            return (*value).to_owned();
        }
        if let Some(before) = word.strip_suffix(name).filter(|before| before.ends_with('=')) {
            return filled(before, known) + value;
        }
    }
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once('$') {
        text += before;
        let (name, after) = match behind.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some(found) => found,
            None => {
                let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                behind.split_at(end.unwrap_or(behind.len()))
            }
        };
        text += known.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn variables_are_filled_in() {
        let known = [("IMAGE", "i:1"), ("NAME", "n"), ("PWD", "/w")];
        for (word, wanted) in [
            ("IMAGE", "i:1"),
            ("$IMAGE", "i:1"),
            ("${NAME}x", "nx"),
            ("--name=NAME", "--name=n"),
            ("NAME=NAME", "NAME=n"),
            ("$PWD:/x", "/w:/x"),
            ("a$OTHER-b", "a-b"),
            ("RENAME", "RENAME"),
            ("$", ""),
        ] {
            assert_eq!(filled(word, &known), wanted, "{word}");
        }
    }
}
