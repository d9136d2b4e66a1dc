//! Which names a prefix of registries.conf means.

/// Where in `name` the part that `prefix` means ends, if it means that name at all: `host[:port][/path]` means itself and
/// what follows after `:`, `/` or `@`; `*.host` means every host below that one.
///
/// `example.com` also means `example.com:5000`, as it does for others, who call it unintended: an administrator who
/// blocks a host would be surprised by less.
pub(crate) fn end_of_match(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*').filter(|rest| rest.starts_with('.')) {
        Some(domain) => {
            let host = &name[..name.find(['/', '@']).unwrap_or(name.len())];
            let bare = &host[..host.find(':').unwrap_or(host.len())];
            [host, bare].into_iter().find(|host| host.ends_with(domain))?.len()
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(name.as_bytes().get(end), None | Some(b':' | b'/' | b'@')).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::end_of_match;

    #[test]
    fn prefixes_mean_whole_parts() {
        for (name, prefix, expected) in [
            ("example.com/foo/bar", "example.com", Some("/foo/bar")),
            ("example.com/foo/bar", "example.com/foo", Some("/bar")),
            ("example.com/foo/bar:1", "example.com/foo/bar", Some(":1")),
            ("example.com/foo/bar:1", "example.com/foo/bar:1", Some("")),
            ("example.com/foo/bar:11", "example.com/foo/bar:1", None),
            ("example.com/foo@sha256:aa", "example.com/foo", Some("@sha256:aa")),
            ("example.com/foobar", "example.com/foo", None),
            ("example.com.evil/foo", "example.com", None),
            ("example.com:5000/foo", "example.com", Some(":5000/foo")),
            ("example.com/foo", "example.com:5000", None),
            ("example", "example.com", None),
            ("a.example.com/foo", "*.example.com", Some("/foo")),
            ("a.b.example.com:5000/foo", "*.example.com", Some(":5000/foo")),
            ("a.example.com.b.example.com/foo", "*.example.com", Some("/foo")),
            ("a.example.com:5000/foo", "*.example.com:5000", Some("/foo")),
            ("a.example.com:5001/foo", "*.example.com:5000", None),
            ("example.com/foo", "*.example.com", None),
            ("aexample.com/foo", "*.example.com", None),
            ("a.example.com.evil/foo", "*.example.com", None),
            ("evil.test/a.example.com/foo", "*.example.com", None),
            ("evil.test/a.example.com", "*.example.com", None),
            ("a.example.com/foo/bar", "*.example.com/foo", None),
        ] {
            let rest = end_of_match(name, prefix).map(|end| &name[end..]);
            assert_eq!(rest, expected, "{name} {prefix}");
        }
    }
}
