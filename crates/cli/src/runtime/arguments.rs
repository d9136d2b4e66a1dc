//! Reading arguments by hand.

use std::ffi::OsString;

/// What is left of the command line.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    rest: std::slice::Iter<'a, OsString>,
    /// The value of a `--flag=value` that was just read.
    value: Option<&'a str>,
    /// After `--` nothing is a flag.
    words_only: bool,
}

/// A flag that the command does not have, or that asks for its help.
#[derive(Debug, thiserror::Error)]
#[error("unknown flag {flag}: see --help of the command")]
pub(crate) struct Unknown {
    flag: String,
}

impl Unknown {
    /// Whether it asks for help.
    pub(crate) fn is_help(&self) -> bool {
        matches!(self.flag.as_str(), "-h" | "--help")
    }
}

/// The answer to a flag that a command does not have.
pub(crate) fn unknown<T>(flag: &str) -> anyhow::Result<T> {
    Err(Unknown { flag: flag.to_owned() }.into())
}

/// The next thing on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    /// `--name` or `-n`.
    Flag(&'a str),
    /// Anything else.
    Word(&'a str),
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(arguments: &'a [OsString]) -> Self {
        Self { rest: arguments.iter(), value: None, words_only: false }
    }

    /// The next argument.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Argument<'a>>> {
        if let Some(unused) = self.value.take() {
            anyhow::bail!("unexpected value {unused:?} for a flag that takes none");
        }
        let Some(text) = self.word()? else { return Ok(None) };
        if text == "--" && !self.words_only {
            self.words_only = true;
            return self.next();
        }
        if self.words_only || !text.starts_with('-') || text == "-" {
            return Ok(Some(Argument::Word(text)));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        self.value = value;
        Ok(Some(Argument::Flag(name)))
    }

    /// The value of the flag `name`, which was just read.
    pub(crate) fn value(&mut self, name: &str) -> anyhow::Result<&'a str> {
        match self.value.take() {
            Some(v) => Ok(v),
            // runc's words: Podman learns from them that a flag is known.
            None => self.word()?.ok_or_else(|| anyhow::anyhow!("flag needs an argument: {name}")),
        }
    }

    /// The same, as a number.
    pub(crate) fn number<N: std::str::FromStr>(&mut self, name: &str) -> anyhow::Result<N> {
        let text = self.value(name)?;
        text.parse().map_err(|_| anyhow::anyhow!("invalid {name} {text:?}: not a number in its range"))
    }

    /// Every word that is left; the command has no flags.
    pub(crate) fn words(&mut self) -> anyhow::Result<Vec<&'a str>> {
        let mut words = Vec::new();
        while let Some(argument) = self.next()? {
            match argument {
                Argument::Word(word) => words.push(word),
                Argument::Flag(flag) => return unknown(flag),
            }
        }
        Ok(words)
    }

    fn word(&mut self) -> anyhow::Result<Option<&'a str>> {
        let Some(word) = self.rest.next() else { return Ok(None) };
        word.to_str().map(Some).ok_or_else(|| anyhow::anyhow!("argument {word:?} is not valid UTF-8"))
    }

    /// Everything that is left, uninterpreted.
    pub(crate) fn remaining(&mut self) -> anyhow::Result<Vec<String>> {
        let mut out = Vec::new();
        while let Some(word) = self.word()? {
            out.push(word.to_owned());
        }
        Ok(out)
    }
}
