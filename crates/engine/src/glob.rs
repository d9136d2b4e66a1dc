//! Patterns of names, as Go's `path.Match` has them, which Docker's and Podman's filters use.

use std::path::{Component, Path, PathBuf};

/// Whether all of `text` is what `pattern` says: `*` is anything without a slash, `?` one character that is no slash, `[a-z]` one of
/// a class, `[^a-z]` one of none, and `\` takes what follows as it is. A pattern that cannot be read fits nothing.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text after the last star does not fit: behind one character more of it.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let step = if t < text.len() { one(&pattern[p..], text[t]) } else { None };
        match (step, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, from))) if from < text.len() && text[from] != '/' => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            _ => return false,
        }
    }
}

/// How much of a pattern one character uses up, if it fits.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '[' => class(pattern, c),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        plain => (*plain == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let first = at;
    let mut fits = false;
    let next = |at: &mut usize| -> Option<char> {
        if pattern.get(*at) == Some(&'\\') {
            *at += 1;
        }
        *at += 1;
        pattern.get(*at - 1).copied()
    };
    while *pattern.get(at)? != ']' || at == first {
        let low = next(&mut at)?;
        let high = if pattern.get(at) == Some(&'-') {
            at += 1;
            next(&mut at)?
        } else {
            low
        };
        fits |= (low..=high).contains(&c);
    }
    (fits != negated && c != '/').then_some(at + 1)
}

/// The absolute paths that fit a pattern, which may have stars in any of its names; sorted. Names that begin with a dot are meant by
/// patterns that do.
pub fn paths_like(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components() {
        let Component::Normal(name) = component else { continue };
        let Some(text) = name.to_str().filter(|text| text.contains(['*', '?', '[', '\\'])) else {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        };
        let entries = found.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
        let fits = |name: &str| matches(text, name) && name.starts_with('.') == text.starts_with('.');
        let fitting = entries.filter(|entry| entry.file_name().to_str().is_some_and(fits));
        found = fitting.map(|entry| entry.path()).collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_path_match() {
        for (pattern, text) in [
            ("busybox", "busybox"),
            ("*", ""),
            ("*box", "busybox"),
            ("b*x", "busybox"),
            ("*:lat*", "busybox:latest"),
            ("docker.io/*/busybox", "docker.io/library/busybox"),
            ("[a-c]usybox", "busybox"),
            ("[^a]usybox", "busybox"),
            ("b?sybox", "busybox"),
            ("a\\*b", "a*b"),
            ("*a*b*c", "xxaxxbxbxxc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("busy", "busybox"),
            ("*", "a/b"),
            ("a*c", "a/c"),
            ("[a", "a"),
            ("[^b]usybox", "busybox"),
            ("?", "/"),
            ("", "x"),
            ("\\", "\\"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
