//! Man pages, in the language of man(7).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command};
use loment_cli::reference::{self, Spelling};

const PROGRAM: &str = "loment";

/// Writes a page for the program, for each group and for each command, and one that leads there for each other spelling. Returns how
/// many.
pub(crate) fn write(dir: &Path) -> anyhow::Result<usize> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let pages = pages();
    for (name, text) in &pages {
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(pages.len())
}

/// All of them by their names.
fn pages() -> BTreeMap<String, String> {
    let spellings = reference::spellings();
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for spelling in &spellings {
        let text = match spelling.typed == spelling.command {
            true => of_command(spelling),
            false => format!(".so man1/{}.1\n", name(spelling.command)),
        };
        pages.insert(name(&spelling.typed), text);
    }
    // Some are in a group only, under another word.
    for spelling in spellings.iter().filter(|spelling| spelling.typed != spelling.command) {
        pages.entry(name(spelling.command)).or_insert_with(|| of_command(spelling));
    }
    for (group, about) in reference::groups() {
        let below = spellings.iter().filter(|s| s.typed.split(' ').next() == Some(group) && s.typed != group);
        let commands = below.map(|s| (s.typed.as_str(), &s.parser));
        let synopsis = format!("\\fB{PROGRAM} {group}\\fR \\fICOMMAND\\fR\n");
        let page = Page { typed: group, about, synopsis };
        pages.insert(name(group), page.head() + &list(commands) + &see_also(&[]));
    }
    pages.insert(PROGRAM.to_owned(), of_program(&spellings));
    pages
}

/// The name of a page.
fn name(typed: &str) -> String {
    format!("{PROGRAM}-{}", typed.replace(' ', "-"))
}

/// What all pages begin with.
struct Page<'a> {
    typed: &'a str,
    about: &'a str,
    /// Written as it is.
    synopsis: String,
}

impl Page<'_> {
    fn head(&self) -> String {
        let name = if self.typed.is_empty() { PROGRAM.to_owned() } else { name(self.typed) };
        let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
        let about = escaped(self.about);
        let (title, name) = (escaped(&title), escaped(&name));
        format!(
            ".TH \"{title}\" 1 \"\" \"{PROGRAM} {version}\"\n.SH NAME\n{name} \\- {about}\n.SH SYNOPSIS\n{}",
            self.synopsis
        )
    }
}

fn of_command(spelling: &Spelling) -> String {
    let mut parser = spelling.parser.clone().bin_name(format!("{PROGRAM} {}", spelling.command));
    let usage = parser.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let about = parser.get_about().map(ToString::to_string).unwrap_or_default();
    let typed = spelling.command;
    let mut text = Page { typed, about: &about, synopsis: format!("\\fB{}\\fR\n", escaped(usage)) }.head();
    let long = parser.get_long_about().map(ToString::to_string).filter(|long| *long != about);
    if let Some(long) = long {
        text += &format!(".SH DESCRIPTION\n{}\n", paragraph(&long));
    }
    let words: Vec<&Arg> = parser.get_positionals().collect();
    if !words.is_empty() {
        text += ".SH ARGUMENTS\n";
        text.extend(words.into_iter().map(argument));
    }
    let group = typed.split_once(' ').map(|(group, _)| name(group));
    text + &options(&parser) + &see_also(&group.into_iter().collect::<Vec<_>>())
}

fn of_program(spellings: &[Spelling]) -> String {
    let synopsis = format!("\\fB{PROGRAM}\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR\n");
    let head = Page { typed: "", about: "run and manage containers and images", synopsis }.head();
    let mut alone: Vec<_> = spellings.iter().filter(|s| !s.typed.contains(' ')).collect();
    alone.sort_by(|a, b| a.typed.cmp(&b.typed));
    let commands = list(alone.into_iter().map(|s| (s.typed.as_str(), &s.parser)));
    let groups = reference::groups().into_iter().map(|(group, about)| entry(&name(group), about));
    let groups = groups.fold(".SH GROUPS OF COMMANDS\n".to_owned(), |text, entry| text + &entry);
    let statuses = [
        ("125", "loment itself could not do it"),
        ("126", "a program in a container could not be executed"),
        ("127", "a program in a container was not found"),
        ("other", "that of the program in the container, or 1"),
    ];
    let statuses = statuses.map(|(status, what)| format!(".TP\n{status}\n{what}\n")).concat();
    head + &options(&reference::global_flags()) + &commands + &groups + ".SH EXIT STATUS\n" + &statuses
}

/// A list of commands, each with its page.
fn list<'a>(commands: impl Iterator<Item = (&'a str, &'a Command)>) -> String {
    let about = |parser: &Command| parser.get_about().map(ToString::to_string).unwrap_or_default();
    let entries = commands.map(|(typed, parser)| entry(&name(typed), &about(parser)));
    entries.fold(".SH COMMANDS\n".to_owned(), |text, entry| text + &entry)
}

fn entry(page: &str, about: &str) -> String {
    format!(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(page), paragraph(about))
}

/// Flags below their headings.
fn options(parser: &Command) -> String {
    let shown = parser.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    let mut headings: Vec<(Option<&str>, String)> = vec![(None, String::new())];
    for arg in shown {
        let heading = arg.get_help_heading();
        let at = headings.iter().position(|(known, _)| *known == heading).unwrap_or_else(|| {
            headings.push((heading, String::new()));
            headings.len() - 1
        });
        headings[at].1 += &option(arg);
    }
    let mut text = String::new();
    for (heading, options) in headings.into_iter().filter(|(_, options)| !options.is_empty()) {
        text += &heading.map(|heading| format!(".SS {}\n", escaped(heading))).unwrap_or_default();
        text += &options;
    }
    if text.is_empty() { text } else { format!(".SH OPTIONS\n{text}") }
}

fn option(arg: &Arg) -> String {
    let letter = arg.get_short().map(|letter| format!("-{letter}"));
    let names = letter.into_iter().chain(arg.get_long().map(|long| format!("--{long}")));
    let names: Vec<String> = names.map(|name| format!("\\fB{}\\fR", escaped(&name))).collect();
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let value = value.and_then(|names| names.first()).map(|name| escaped(name));
    let value = match value {
        None => String::new(),
        Some(name) if arg.is_require_equals_set() => format!("[=\\fI{name}\\fR]"),
        Some(name) => format!(" \\fI{name}\\fR"),
    };
    format!(".TP\n{}{value}\n{}\n", names.join(", "), meaning(arg))
}

fn argument(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| format!("\\fI{}\\fR", escaped(name))).collect();
    format!(".TP\n{}\n{}\n", names.join(" "), meaning(arg))
}

/// What it does, what holds without it, and what it may be.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = paragraph(&help);
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        text += &format!(" [default: {}]", escaped(&defaults.join(" ")));
    }
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).map(|v| v.get_name()).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        text += &format!(" [possible values: {}]", escaped(&values.join(", ")));
    }
    text
}

fn see_also(others: &[String]) -> String {
    let pages = [PROGRAM.to_owned()].into_iter().chain(others.iter().cloned());
    let pages: Vec<String> = pages.map(|page| format!("\\fB{}\\fR(1)", escaped(&page))).collect();
    format!(".SH SEE ALSO\n{}\n", pages.join(", "))
}

/// Text as a paragraph: what would be a command of roff at the beginning of a line is none.
fn paragraph(text: &str) -> String {
    let line = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{}", escaped(line)),
        false => escaped(line),
    };
    text.lines().map(str::trim).filter(|text| !text.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_roff_is_escaped() {
        assert_eq!(paragraph(".x -y\n\n'z\\"), "\\&.x \\-y\n\\&\\(aqz\\e");
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        for name in ["loment", "loment-run", "loment-container", "loment-container-run", "loment-image-sync"]
        {
            assert!(pages.contains_key(name), "{name}");
        }
        assert_eq!(pages["loment-container-run"], ".so man1/loment-run.1\n");
        assert!(pages["loment-run"].contains("\\fB\\-\\-memory\\fR \\fISIZE\\fR"));
        assert!(!pages["loment-run"].contains("decryption\\-key"), "what is refused is not offered");
        for (name, text) in &pages {
            if let Some(to) = text.strip_prefix(".so man1/") {
                assert!(pages.contains_key(to.trim_end_matches(".1\n")), "{name}");
            }
        }
    }
}
