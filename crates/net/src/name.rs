//! Names of network devices.

use std::fmt;

use crate::Error;

/// The longest name, in bytes (`IFNAMSIZ`, without its zero).
const MAX: usize = 15;

/// A name a device can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName(String);

impl DeviceName {
    /// Takes what the kernel takes (`dev_valid_name`), but for `%`, which is for templates.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(name: &str) -> Result<Self, Error> {
        if name.contains('%') {
            return Err(bad(name, "it contains %"));
        }
        check(name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name a device is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewName {
    /// This one.
    Exact(DeviceName),
    /// With the first free number in place of its `%d`.
    Template(String),
}

impl NewName {
    /// A name, or a template with one `%d`.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(name: &str) -> Result<Self, Error> {
        let Some((before, after)) = name.split_once('%') else {
            return DeviceName::new(name).map(Self::Exact);
        };
        // As the kernel reads it (`dev_alloc_name`).
        if !after.starts_with('d') || after.contains('%') {
            return Err(bad(name, "of % only one %d is allowed, for a number"));
        }
        // With the shortest number it must be a name.
        check(&format!("{before}0{}", &after[1..]))?;
        check(name)?;
        Ok(Self::Template(name.to_owned()))
    }

    /// The name or the template.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Template(text) => text,
        }
    }
}

fn check(name: &str) -> Result<(), Error> {
    let strange = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace() || c == '\x0b';
    match name {
        "" => Err(bad(name, "it is empty")),
        "." | ".." => Err(bad(name, "it is a name of directories")),
        _ if name.len() > MAX => Err(bad(name, "it has more than 15 bytes")),
        _ if name.contains(strange) => Err(bad(name, "it contains a blank, a slash, a colon or a zero")),
        _ => Ok(()),
    }
}

fn bad(name: &str, reason: &'static str) -> Error {
    Error::Name { name: name.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for good in ["eth0", "a", "veth-123.45", "123456789012345", "é"] {
            assert_eq!(DeviceName::new(good).unwrap().as_str(), good);
        }
        let long = "1234567890123456";
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\x0bb", "a\0", "eth%d", long] {
            assert!(DeviceName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_template_has_one_number() {
        assert_eq!(NewName::new("eth%d").unwrap(), NewName::Template("eth%d".to_owned()));
        assert!(matches!(NewName::new("eth0").unwrap(), NewName::Exact(_)));
        for bad in ["%", "eth%", "eth%s", "%d%d", "eth%d%", "eth/%d", "12345678901234%d"] {
            assert!(NewName::new(bad).is_err(), "{bad:?}");
        }
    }
}
