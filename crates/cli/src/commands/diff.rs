//! `diff`, `container diff` and `image diff`

use std::io::Write;

use clap::Parser;
use loment_engine::Engine;
use loment_image::ShortNames;
use loment_store::{Change, ChangeKind, ImageRecord};
use serde::Serialize;

use super::choose::latest;
use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// What engines make in every container, and Podman does not show.
const HIDDEN: [&[u8]; 12] = [
    b"/dev",
    b"/etc/hostname",
    b"/etc/hosts",
    b"/etc/mtab",
    b"/etc/resolv.conf",
    b"/proc",
    b"/run",
    b"/run/.containerenv",
    b"/run/notify",
    b"/run/podman-init",
    b"/run/secrets",
    b"/sys",
];

/// Show what an image changes in the file system of another
///
/// A line is A for what is added, C for what is changed or D for what is deleted, and a path. Without another image, it is what
/// the topmost layer changes in those below.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show one document instead of lines: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The one it is compared with
    #[arg(value_name = "OTHER")]
    other: Option<String>,
}

/// Show what a container has changed in its files
///
/// A line is A for what is added, C for what is changed or D for what is deleted, and a path.
#[derive(Parser, Debug)]
pub(super) struct ContainerFlags {
    /// Show one document instead of lines: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// The container
    #[arg(value_name = "CONTAINER", required_unless_present = "latest", conflicts_with = "latest")]
    container: Option<String>,
}

/// Show what a container has changed in its files, or an image in those of another
///
/// A line is A for what is added, C for what is changed or D for what is deleted, and a path. Of an image without another, it is
/// what the topmost layer changes in those below.
#[derive(Parser, Debug)]
pub(super) struct AnyFlags {
    /// Show one document instead of lines: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// The container or image
    #[arg(value_name = "CONTAINER|IMAGE", required_unless_present = "latest", conflicts_with = "latest")]
    name: Option<String>,
    /// The image it is compared with, if it is one
    #[arg(value_name = "IMAGE")]
    other: Option<String>,
}

/// Podman's document.
#[derive(Default, Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &AnyFlags) -> Result<u8, Error> {
    let format = flags.format.clone();
    let engine = globals.engine()?;
    let container = match &flags.name {
        Some(name) if flags.other.is_none() => match engine.container(name) {
            Err(loment_engine::Error::NoContainer { .. }) => None,
            found => Some(found?.config.id),
        },
        Some(_) => None,
        None => Some(latest(&engine)?),
    };
    match (container, &flags.name) {
        (None, Some(image)) => {
            run_image(globals, &Flags { format, image: image.clone(), other: flags.other.clone() })
        }
        (container, _) => run_container(globals, &ContainerFlags { format, latest: false, container }),
    }
}

pub(super) fn run_container(globals: &Globals, flags: &ContainerFlags) -> Result<u8, Error> {
    check(flags.format.as_deref())?;
    let engine = globals.engine()?;
    let name = flags.container.clone().map_or_else(|| latest(&engine), Ok)?;
    show(&engine.changes(&name)?, flags.format.is_some())
}

pub(super) fn run_image(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    check(flags.format.as_deref())?;
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    let image = record(&engine, &flags.image, &short_names)?;
    let other = flags.other.as_deref().map(|name| record(&engine, name, &short_names)).transpose()?;
    let changes = engine.store().changes(other.as_ref(), &image).map_err(loment_engine::Error::from)?;
    show(&changes, flags.format.is_some())
}

fn check(format: Option<&str>) -> Result<(), Error> {
    match format {
        None | Some("json") => Ok(()),
        Some(_) => Err(Error::Invalid("only supported value for '--format' is 'json'".into())),
    }
}

fn show(changes: &[Change], as_document: bool) -> Result<u8, Error> {
    let shown = changes.iter().filter(|change| !HIDDEN.contains(&change.path.as_slice()));
    let bytes = if as_document { document(shown)? } else { lines(shown) };
    let mut out = std::io::stdout();
    match out.write_all(&bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::Shown { status: 0 }),
        other => other.doing(|| "write to standard output".into()),
    }?;
    Ok(0)
}

fn record(engine: &Engine, name: &str, short_names: &ShortNames) -> Result<ImageRecord, Error> {
    let (id, _) = engine.find_image(name, short_names)?;
    let record = engine.store().image(&id).map_err(loment_engine::Error::from)?;
    record.ok_or_else(|| loment_engine::Error::NoImage { name: name.to_owned() }.into())
}

fn lines<'c>(changes: impl Iterator<Item = &'c Change>) -> Vec<u8> {
    let mut text = Vec::new();
    for change in changes {
        let letter = match change.kind {
            ChangeKind::Added => b"A ",
            ChangeKind::Changed => b"C ",
            ChangeKind::Deleted => b"D ",
        };
        text.extend_from_slice(letter);
        escape(&change.path, &mut text);
        text.push(b'\n');
    }
    text
}

/// Bytes of a name, so that an image makes up no lines and sends nothing to a terminal. Others stay as they are, whether they are
/// UTF-8 or not.
fn escape(name: &[u8], text: &mut Vec<u8>) {
    let mut before = 0;
    for &byte in name {
        // In UTF-8, C2 80 to C2 9F are control characters, too.
        let control = byte.is_ascii_control() || (before == 0xc2 && (0x80..0xa0).contains(&byte));
        if control {
            text.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            text.push(byte);
        }
        before = byte;
    }
}

fn document<'c>(changes: impl Iterator<Item = &'c Change>) -> Result<Vec<u8>, Error> {
    let mut document = Document::default();
    for change in changes {
        let list = match change.kind {
            ChangeKind::Added => &mut document.added,
            ChangeKind::Changed => &mut document.changed,
            ChangeKind::Deleted => &mut document.deleted,
        };
        list.push(String::from_utf8_lossy(&change.path).into_owned());
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"     ");
    let written = document.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter));
    written.map_err(std::io::Error::from).doing(|| "write a document".into())?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_send_nothing_to_a_terminal() {
        let mut text = Vec::new();
        escape(b"/a\x1b[1m\nb \xc2\x9b\xc3\xa9\xe9\\", &mut text);
        assert_eq!(text, b"/a\\x1b[1m\\x0ab \xc2\\x9b\xc3\xa9\xe9\\");
    }
}
