//! Names of slices and scopes, and the groups that they mean.

use crate::{CgroupPath, Error};

/// The longest name of a unit (systemd's `UNIT_NAME_MAX`, less the NUL).
const MAX_NAME: usize = 255;

/// A scope's place among systemd's units: `machine.slice` and `loment-1f2e.scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeName {
    slice: String,
    unit: String,
}

impl ScopeName {
    /// A scope `prefix-name.scope` (without prefix `name.scope`) in a slice; of an empty name the slice is the root.
    /// What cannot be in the name of a unit is escaped as systemd.unit(5) has it.
    ///
    /// # Errors
    /// [`Error::UnitName`].
    pub fn new(slice: &str, prefix: &str, name: &str) -> Result<Self, Error> {
        let slice = if slice.is_empty() { "-.slice" } else { slice };
        expand_slice(slice)?;
        let fail = |reason| Err(Error::UnitName { name: name.to_owned(), reason });
        if name.is_empty() {
            return fail("it is empty");
        }
        if name.ends_with(".slice") {
            return fail("a container is a scope, not a slice");
        }
        let separator = if prefix.is_empty() { "" } else { "-" };
        let unit = escape(&format!("{prefix}{separator}{name}")) + ".scope";
        if unit.len() > MAX_NAME {
            return fail("it is too long for a unit of systemd");
        }
        Ok(Self { slice: slice.to_owned(), unit })
    }

    /// The `cgroupsPath` of a configuration that is for systemd: `slice:prefix:name` (runc's and crun's form). Of an empty
    /// slice, `default` is meant.
    ///
    /// # Errors
    /// [`Error::UnitName`].
    pub fn parse(text: &str, default: &str) -> Result<Self, Error> {
        let parts: Vec<_> = text.split(':').collect();
        match parts[..] {
            [slice, prefix, name] => Self::new(if slice.is_empty() { default } else { slice }, prefix, name),
            _ => Err(Error::UnitName {
                name: text.to_owned(),
                reason: "it is not of the form slice:prefix:name",
            }),
        }
    }

    /// The scope's name.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// The slice's name.
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// Its group, of a manager that has `root`.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn path_below(&self, root: &str) -> Result<CgroupPath, Error> {
        CgroupPath::new(&format!("{root}{}/{}", expand_slice(&self.slice)?, self.unit))
    }
}

/// The group of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)); empty for the root.
fn expand_slice(slice: &str) -> Result<String, Error> {
    let fail = |reason| Err(Error::UnitName { name: slice.to_owned(), reason });
    let Some(stem) = slice.strip_suffix(".slice").filter(|s| !s.is_empty()) else {
        return fail("a slice is called NAME.slice");
    };
    if stem == "-" {
        return Ok(String::new());
    }
    if slice.len() > MAX_NAME || !stem.bytes().all(|b| is_plain(b) || b == b'\\') {
        return fail("it is not the name of a slice");
    }
    let (mut path, mut prefix) = (String::new(), String::new());
    for component in stem.split('-') {
        if component.is_empty() {
            return fail("a part between dashes is empty");
        }
        path += &format!("/{prefix}{component}.slice");
        prefix += &format!("{component}-");
    }
    Ok(path)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.".contains(&byte)
}

/// Bytes that the name of a unit cannot have, and a dot at the beginning, as `\x2b`.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'.' if i == 0 => out += "\\x2e",
            b if is_plain(b) => out.push(char::from(b)),
            b => out += &format!("\\x{b:02x}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_in_those_that_its_name_names() {
        for (slice, path) in [
            ("a.slice", "/a.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            ("machine.slice", "/machine.slice"),
            ("-.slice", ""),
        ] {
            assert_eq!(expand_slice(slice).unwrap(), path);
        }
        for bad in
            ["", ".slice", "a", "a.scope", "a/b.slice", "-a.slice", "a--b.slice", "a-.slice", "a b.slice"]
        {
            assert!(expand_slice(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_configuration_names_slice_prefix_and_scope() {
        let name = ScopeName::parse("machine.slice:libpod:12ab", "system.slice").unwrap();
        assert_eq!((name.slice(), name.unit()), ("machine.slice", "libpod-12ab.scope"));
        assert_eq!(name.path_below("").unwrap().as_str(), "machine.slice/libpod-12ab.scope");
        let name = ScopeName::parse("::x", "user.slice").unwrap();
        let below = name.path_below("/user.slice/user@7.service").unwrap();
        assert_eq!(below.as_str(), "user.slice/user@7.service/user.slice/x.scope");
        for bad in ["", "/a/b", "a.slice:b", "a.slice:b:", "a:b:c", "a.slice:b:c.slice", "a.slice:b:c:d"] {
            assert!(ScopeName::parse(bad, "system.slice").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_unit_cannot_be_called_is_escaped() {
        let unit = |name: &str| ScopeName::new("a.slice", "p", name).map(|n| n.unit().to_owned());
        assert_eq!(unit("a+b/c").unwrap(), "p-a\\x2bb\\x2fc.scope");
        assert_eq!(ScopeName::new("a.slice", "", "..").unwrap().unit(), "\\x2e..scope");
        assert!(unit(&"a".repeat(300)).is_err());
    }
}
