//! registries.d (containers-registries.d(5)): where signatures of images are kept. It is read as others read it, so that a mistake
//! shows and a copy can say what it leaves behind; signatures themselves are not read here yet.

use std::collections::BTreeMap;

use super::error::ConfError;
use super::policy::Subject;
use super::registries::File;
use crate::yaml::{self, Node, Value, failed};

/// Where the signatures of a registry's images, or of some of them, are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignaturePlace {
    /// `lookaside`, or by its older name `sigstore`: below which URL they are read.
    pub lookaside: Option<String>,
    /// `lookaside-staging`: below which URL they are written.
    pub staging: Option<String>,
    /// `use-sigstore-attachments`: whether they are in the registry, beside the image.
    pub attachments: Option<bool>,
}

impl SignaturePlace {
    /// Whether images may have signatures there that can be read.
    pub fn may_have_some(&self) -> bool {
        self.lookaside.is_some() || self.attachments == Some(true)
    }
}

/// All that is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignaturePlaces {
    default: Option<(String, SignaturePlace)>,
    /// By scope, with the file that says so.
    scopes: BTreeMap<String, (String, SignaturePlace)>,
}

impl SignaturePlaces {
    /// Puts files together; what two of them say of one scope is a mistake.
    ///
    /// # Errors
    /// [`ConfError`] for the first file that cannot be used.
    pub fn parse<'t>(files: impl IntoIterator<Item = File<'t>>) -> Result<Self, ConfError> {
        let mut all = Self::default();
        for file in files {
            let Some(top) = yaml::parse(file)? else { continue };
            for (key, node) in map(file, top)? {
                match key.as_str() {
                    "default-docker" => {
                        let at = node.position;
                        let place = place(file, node)?;
                        if let Some((other, _)) = all.default.replace((file.name.to_owned(), place)) {
                            let message = format!("default-docker is said twice, also in {other}");
                            return Err(failed(file, at, message));
                        }
                    }
                    "docker" => all.add(file, node)?,
                    // Others know no more, and pass over it.
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    fn add(&mut self, file: File<'_>, node: Node) -> Result<(), ConfError> {
        for (scope, node) in map(file, node)? {
            let at = node.position;
            let place = place(file, node)?;
            if let Some((other, _)) = self.scopes.insert(scope.clone(), (file.name.to_owned(), place)) {
                return Err(failed(file, at, format!("{scope:?} is said twice, also in {other}")));
            }
        }
        Ok(())
    }

    /// What holds for an image: what its smallest scope says, or else the default.
    pub fn of(&self, image: &Subject) -> Option<&SignaturePlace> {
        let own = image.scopes.iter().find_map(|scope| self.scopes.get(scope));
        own.or(self.default.as_ref()).map(|(_, place)| place)
    }
}

fn map(file: File<'_>, node: Node) -> Result<Vec<(String, Node)>, ConfError> {
    match node.value {
        Value::Map(entries) => Ok(entries),
        // Nothing at all, as where everything is a remark.
        Value::Text { text, plain: true } if matches!(text.as_str(), "" | "~" | "null") => Ok(Vec::new()),
        _ => Err(failed(file, node.position, "expected names, each with a value")),
    }
}

fn place(file: File<'_>, node: Node) -> Result<SignaturePlace, ConfError> {
    let (mut place, mut older) = (SignaturePlace::default(), SignaturePlace::default());
    for (key, node) in map(file, node)? {
        let known =
            ["lookaside", "lookaside-staging", "sigstore", "sigstore-staging", "use-sigstore-attachments"];
        if !known.contains(&key.as_str()) {
            continue;
        }
        let at = node.position;
        let Value::Text { text, .. } = node.value else {
            return Err(failed(file, at, format!("expected one value for {key}")));
        };
        let said = Some(text.clone()).filter(|text| !text.is_empty());
        match key.as_str() {
            "lookaside" => place.lookaside = said,
            "lookaside-staging" => place.staging = said,
            "sigstore" => older.lookaside = said,
            "sigstore-staging" => older.staging = said,
            "use-sigstore-attachments" => {
                place.attachments = match text.as_str() {
                    "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
                    "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
                    _ => return Err(failed(file, at, format!("{key} is true or false, not {text:?}"))),
                }
            }
            _ => {}
        }
    }
    place.lookaside = place.lookaside.or(older.lookaside);
    place.staging = place.staging.or(older.staging);
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[(&str, &str)]) -> Result<SignaturePlaces, String> {
        let files = texts.iter().map(|&(name, text)| File { name, text });
        SignaturePlaces::parse(files).map_err(|e| e.to_string())
    }

    const MAIN: &str = "# as it is installed\ndefault-docker:\n#  lookaside: file:///x\n  lookaside-staging: file:///var/lib/x\n";
    const MORE: &str = "docker:\n  registry.example.com:\n    sigstore: https://old\n    lookaside: https://a/b\n  \
                        registry.example.com/team:\n    use-sigstore-attachments: true\n  '*.example.org':\n    sigstore: https://old\n";

    #[test]
    fn the_smallest_scope_counts() {
        let all = parse(&[("a.yaml", MAIN), ("b.yaml", MORE), ("c.yaml", "")]).unwrap();
        let of = |image: &str| all.of(&Subject::docker(&image.parse().unwrap())).unwrap().clone();
        assert_eq!(of("registry.example.com/x:1").lookaside.as_deref(), Some("https://a/b"));
        let team = of("registry.example.com/team/x");
        assert_eq!((team.lookaside.as_deref(), team.attachments), (None, Some(true)));
        assert_eq!(of("a.example.org/x").lookaside.as_deref(), Some("https://old"));
        let other = of("quay.io/x/y");
        assert_eq!((other.staging.as_deref(), other.may_have_some()), (Some("file:///var/lib/x"), false));
        assert!(team.may_have_some());
        let nothing = parse(&[("a.yaml", "default-docker:\n")]).unwrap();
        assert_eq!(
            nothing.of(&Subject::docker(&"quay.io/x".parse().unwrap())),
            Some(&SignaturePlace::default())
        );
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        for (texts, words) in [
            (
                &[("a.yaml", MAIN), ("b.yaml", MAIN)][..],
                ["b.yaml", "default-docker is said twice, also in a.yaml"],
            ),
            (
                &[("a.yaml", MORE), ("b.yaml", MORE)],
                ["b.yaml", "\"registry.example.com\" is said twice, also in a.yaml"],
            ),
            (
                &[("a.yaml", "docker:\n  x:\n    use-sigstore-attachments: maybe\n")],
                ["line 3", "true or false"],
            ),
            (&[("a.yaml", "docker:\n  x: [1]\n")], ["line 2", "expected names"]),
            (&[("a.yaml", "docker: {x: {lookaside: [1]}}\n")], ["line 1", "one value for lookaside"]),
            (&[("a.yaml", "- docker\n")], ["line 1", "expected names"]),
            (&[("a.yaml", "docker: {\n")], ["a.yaml", "line"]),
        ] {
            let error = parse(texts).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        }
    }
}
