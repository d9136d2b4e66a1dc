//! containers.conf (containers.conf(5)) as a whole: what the last of several files says of a key, and which file that is.
//!
//! A value takes the place of one in a file before it. Lists may say `{append = true}`: from then on what files say of that list is
//! added to it, until one says `{append = false}`.

use std::collections::BTreeMap;

use toml::Value;

use super::error::ConfError;
use super::registries::File;

/// No list in all files together is longer.
const MAX_LIST: usize = 4096;

/// What files say.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    files: Vec<String>,
    keys: BTreeMap<(String, String), Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    /// The file, by its number, and what it says.
    One(usize, Value),
    /// The same of each item, and whether others are added.
    List(Vec<(usize, Value)>, bool),
}

/// Something that a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a, T> {
    /// The file.
    pub file: &'a str,
    /// The key.
    pub key: &'static str,
    /// What it says.
    pub value: T,
}

impl Layers {
    /// Puts files together: the main one, then the others in their order.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            // Most have remarks and names of tables, and nothing else.
            let says = |line: &str| {
                let is_table = line.starts_with('[') && line.ends_with(']') && !line.contains('=');
                !(line.is_empty() || line.starts_with('#') || is_table)
            };
            if file.text.lines().map(str::trim).any(says) {
                all.add(file)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, file: File<'_>) -> Result<(), ConfError> {
        let document: toml::Table = file.toml()?;
        let number = self.files.len();
        self.files.push(file.name.to_owned());
        for (table, content) in document {
            let Value::Table(content) = content else { continue };
            for (key, value) in content {
                let at = (table.clone(), key);
                let entry = match value {
                    Value::Array(items) => self.list_with(&at, number, items)?,
                    value => Entry::One(number, value),
                };
                self.keys.insert(at, entry);
            }
        }
        Ok(())
    }

    /// A list, behind what there is of it if that is asked for.
    fn list_with(&self, at: &(String, String), number: usize, items: Vec<Value>) -> Result<Entry, ConfError> {
        let (before, mut append) = match self.keys.get(at) {
            Some(Entry::List(before, append)) => (before.as_slice(), *append),
            _ => (&[][..], false),
        };
        let mut list = Vec::new();
        for item in items {
            match item {
                Value::Table(attributes) => match (attributes.get("append"), attributes.len()) {
                    (Some(Value::Boolean(yes)), 1) => append = *yes,
                    _ => return Err(self.wrong_item(number, at, &Value::Table(attributes))),
                },
                item => list.push((number, item)),
            }
        }
        let all = if append { [before, &list].concat() } else { list };
        match all.len() {
            0..=MAX_LIST => Ok(Entry::List(all, append)),
            _ => Err(self.wrong_item(number, at, &Value::String("…".into()))),
        }
    }

    fn wrong_item(&self, number: usize, (table, key): &(String, String), item: &Value) -> ConfError {
        ConfError::List {
            file: self.files[number].clone(),
            key: format!("{key} of [{table}]"),
            item: shown(item),
        }
    }

    fn entry(&self, table: &str, key: &str) -> Option<&Entry> {
        // Few keys are said at all.
        if self.keys.is_empty() {
            return None;
        }
        self.keys.get(&(table.to_owned(), key.to_owned()))
    }

    fn wrong(&self, number: usize, key: &'static str, value: &Value, problem: &'static str) -> ConfError {
        ConfError::Value { file: self.files[number].clone(), key, value: shown(value), problem }
    }

    fn one<'a, T>(
        &'a self,
        table: &str,
        key: &'static str,
        problem: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<Said<'a, T>>, ConfError> {
        let (number, value) = match self.entry(table, key) {
            None => return Ok(None),
            Some(Entry::One(number, value)) => (*number, value),
            Some(Entry::List(items, _)) => {
                let number = items.last().map_or(0, |(number, _)| *number);
                return Err(self.wrong(number, key, &Value::Array(Vec::new()), problem));
            }
        };
        let value = read(value).ok_or_else(|| self.wrong(number, key, value, problem))?;
        Ok(Some(Said { file: &self.files[number], key, value }))
    }

    /// A text.
    ///
    /// # Errors
    /// [`ConfError::Value`] for what is none; so of the others.
    pub fn any_text(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, &str>>, ConfError> {
        self.one(table, key, "use a text in quotes", Value::as_str)
    }

    /// A text; one that is empty says nothing.
    ///
    /// # Errors
    /// As of [`Layers::any_text`].
    pub fn text(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, &str>>, ConfError> {
        Ok(self.any_text(table, key)?.filter(|said| !said.value.is_empty()))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// As of [`Layers::text`].
    pub fn switch(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, bool>>, ConfError> {
        self.one(table, key, "use true or false, without quotes", Value::as_bool)
    }

    /// A whole number.
    ///
    /// # Errors
    /// As of [`Layers::text`].
    pub fn number(&self, table: &str, key: &'static str) -> Result<Option<Said<'_, i64>>, ConfError> {
        self.one(table, key, "use a number without quotes", Value::as_integer)
    }

    /// A list of texts, each with the file that it is in; `None` when no file says anything of it.
    ///
    /// # Errors
    /// As of [`Layers::text`].
    pub fn list<'a>(
        &'a self,
        table: &str,
        key: &'static str,
    ) -> Result<Option<Vec<Said<'a, &'a str>>>, ConfError> {
        const PROBLEM: &str = "use a list of texts: [\"…\", \"…\"]";
        match self.entry(table, key) {
            None => Ok(None),
            Some(Entry::One(number, value)) => Err(self.wrong(*number, key, value, PROBLEM)),
            Some(Entry::List(items, _)) => {
                let item = |(number, value): &'a (usize, Value)| match value.as_str() {
                    Some(text) => Ok(Said { file: self.files[*number].as_str(), key, value: text }),
                    None => Err(self.wrong(*number, key, value, PROBLEM)),
                };
                items.iter().map(item).collect::<Result<_, _>>().map(Some)
            }
        }
    }

    /// The texts of a table below a table: `[secrets.opts]`.
    ///
    /// # Errors
    /// As of [`Layers::text`].
    pub fn texts(&self, table: &str, key: &'static str) -> Result<Vec<(String, String)>, ConfError> {
        const PROBLEM: &str = "use a table of texts: { name = \"…\" }";
        let (number, value) = match self.entry(table, key) {
            None => return Ok(Vec::new()),
            Some(Entry::One(number, value)) => (*number, value),
            Some(Entry::List(..)) => return Err(self.wrong(0, key, &Value::Array(Vec::new()), PROBLEM)),
        };
        let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let pairs = value.as_table().and_then(|table| table.iter().map(pair).collect());
        pairs.ok_or_else(|| self.wrong(number, key, value, PROBLEM))
    }
}

/// As it is written, but for a text, which is shown in quotes anyway.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(texts: &[&str]) -> Result<Layers, String> {
        let names = ["a", "b", "c", "d"];
        let files = texts.iter().zip(names).map(|(text, name)| File { name, text });
        Layers::parse(files).map_err(|e| e.to_string())
    }

    fn list(texts: &[&str]) -> Vec<String> {
        let layers = layers(texts).unwrap();
        let said = layers.list("containers", "env").unwrap().unwrap();
        said.iter().map(|said| format!("{}:{}", said.file, said.value)).collect()
    }

    #[test]
    fn the_last_file_counts_and_is_named() {
        let all = layers(&[
            "# env = [\"x\"]\n",
            "[containers]\ninit = true\numask = \"0077\"\npids_limit = 5\ntz = \"\"\n[engine]\ninit = false",
            "[containers]\numask = \"0027\"\n[secrets.opts]\nroot = \"/x\"\n",
        ])
        .unwrap();
        let switch = |table, key| all.switch(table, key).map(|said| said.map(|said| said.value));
        assert_eq!(switch("containers", "init"), Ok(Some(true)));
        assert_eq!(switch("engine", "init"), Ok(Some(false)));
        assert_eq!(switch("engine", "remote"), Ok(None));
        let umask = all.text("containers", "umask").unwrap().unwrap();
        // The first file has nothing but remarks.
        assert_eq!((umask.file, umask.key, umask.value), ("c", "umask", "0027"));
        assert_eq!(all.text("containers", "tz"), Ok(None));
        assert_eq!(all.number("containers", "pids_limit").unwrap().unwrap().value, 5);
        assert_eq!(all.texts("secrets", "opts"), Ok(vec![("root".into(), "/x".into())]));
    }

    #[test]
    fn lists_are_replaced_or_added_to() {
        let [one, two, three, four] = [
            "[containers]\nenv = [\"1\"]",
            "[containers]\nenv = [\"2\"]",
            "[containers]\nenv = [\"3\", {append=true}]",
            "[containers]\nenv = [\"4\"]",
        ];
        assert_eq!(list(&[one, two]), ["b:2"]);
        assert_eq!(list(&[one, two, three, four]), ["b:2", "c:3", "d:4"]);
        assert_eq!(list(&[one, three, "[containers]\nenv = [\"5\", {append=false}]"]), ["c:5"]);
        assert_eq!(list(&[one, "[containers]\nenv = []"]), [""; 0]);
    }

    #[test]
    fn what_is_of_the_wrong_kind_is_named() {
        let all = layers(&[
            "[containers]\ninit = \"yes\"\numask = 22\nenv = \"A=b\"\ndevices = [1]\nmounts = [[]]",
        ])
        .unwrap();
        let told = |e: ConfError| e.to_string();
        let init = all.switch("containers", "init").map_err(told).unwrap_err();
        assert_eq!(init, "a: invalid init \"yes\": use true or false, without quotes");
        let umask = all.text("containers", "umask").map_err(told).unwrap_err();
        assert_eq!(umask, "a: invalid umask \"22\": use a text in quotes");
        assert!(all.list("containers", "env").is_err() && all.list("containers", "devices").is_err());
        assert!(all.text("containers", "mounts").is_err() && all.list("containers", "mounts").is_err());
        let told = layers(&["[containers]\nenv = [\"1\", {append=1}]"]).unwrap_err();
        assert_eq!(
            told,
            "a: invalid item { append = 1 } in env of [containers]: use texts, and {append=true} or {append=false}"
        );
        assert!(layers(&["[containers\nx = 1"]).unwrap_err().starts_with("parse a: line 1"));
    }
}
