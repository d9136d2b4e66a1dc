//! `WWW-Authenticate` (RFC 9110 section 11.6.1): a parser that survives anything a server sends.

/// Longest header looked at; real ones are below 500 bytes.
const MAX_HEADER: usize = 8 << 10;
/// Most challenges in a header, and parameters in a challenge.
const MAX_ITEMS: usize = 16;

/// One way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `bearer`, `basic`, …; lower case.
    pub(crate) scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header, in order; `None` when it is malformed or oversized.
pub(crate) fn parse(header: &[u8]) -> Option<Vec<Challenge>> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut input = Input { rest: header };
    // A word not followed by `=` begins a challenge, unless it directly follows a scheme: then it is
    // the scheme's token68 (`Negotiate YII…==`).
    let mut after_scheme = false;
    loop {
        if input.skip_separators() {
            after_scheme = false;
        }
        if input.rest.is_empty() {
            return Some(challenges);
        }
        let word = input.token()?;
        input.skip_space();
        if !input.take(b'=') {
            if !after_scheme {
                if challenges.len() == MAX_ITEMS {
                    return None;
                }
                challenges.push(Challenge { scheme: word, parameters: Vec::new() });
            }
            after_scheme = !after_scheme;
            continue;
        }
        input.skip_space();
        let padded = after_scheme && matches!(input.rest.first(), None | Some(b'=' | b','));
        after_scheme = false;
        if padded {
            while input.take(b'=') {}
            continue;
        }
        let value = input.value()?;
        let parameters = &mut challenges.last_mut()?.parameters;
        if parameters.len() == MAX_ITEMS {
            return None;
        }
        parameters.push((word, value));
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn skip_space(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }

    /// Whether there was a comma among them.
    fn skip_separators(&mut self) -> bool {
        let mut comma = false;
        loop {
            self.skip_space();
            if !self.take(b',') {
                return comma;
            }
            comma = true;
        }
    }

    /// A token, in lower case; `/` and `+` are let through for token68.
    fn token(&mut self) -> Option<String> {
        let word = self.word(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b))?;
        Some(word.to_ascii_lowercase())
    }

    fn value(&mut self) -> Option<String> {
        if self.take(b'"') {
            return self.quoted();
        }
        // Unquoted URLs occur in the wild although `:` and `/` ask for quotes.
        self.word(|b| b.is_ascii_graphic() && b != b',' && b != b'"')
    }

    fn quoted(&mut self) -> Option<String> {
        let mut out = Vec::new();
        loop {
            let byte = match self.next()? {
                b'"' => return String::from_utf8(out).ok(),
                b'\\' => self.next()?,
                byte => byte,
            };
            if byte.is_ascii_control() {
                return None;
            }
            out.push(byte);
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// The longest prefix of accepted (ASCII) bytes; `None` when it is empty.
    fn word(&mut self, accepted: impl Fn(u8) -> bool) -> Option<String> {
        let end = self.rest.iter().position(|b| !accepted(*b)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() { None } else { String::from_utf8(word.to_vec()).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes(header: &str) -> Option<Vec<String>> {
        Some(parse(header.as_bytes())?.into_iter().map(|c| c.scheme).collect())
    }

    #[test]
    fn the_hub_challenge_is_understood() {
        let header = br#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push""#;
        let challenges = parse(header).unwrap();
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].scheme, "bearer");
        assert_eq!(challenges[0].get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(challenges[0].get("service"), Some("registry.docker.io"));
        assert_eq!(challenges[0].get("scope"), Some("repository:library/alpine:pull,push"));
        assert_eq!(challenges[0].get("error"), None);
    }

    #[test]
    fn spelling_does_not_matter() {
        let challenges = parse(br#" , BEARER  Realm = "a\"b" ,, SERVICE=c:/d , Basic realm=x"#).unwrap();
        assert_eq!(challenges[0].get("realm"), Some("a\"b"));
        assert_eq!(challenges[0].get("service"), Some("c:/d"));
        assert_eq!(challenges[1].scheme, "basic");
        assert_eq!(challenges[1].get("realm"), Some("x"));
    }

    #[test]
    fn several_challenges_are_told_apart() {
        let names = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(schemes(r#"Negotiate, Basic realm="a, Bearer b=c""#), names(&["negotiate", "basic"]));
        assert_eq!(schemes("Negotiate YIIab+/==, Basic realm=x"), names(&["negotiate", "basic"]));
        assert_eq!(schemes("Negotiate abc, Bearer realm=x"), names(&["negotiate", "bearer"]));
        assert_eq!(schemes("Basic"), names(&["basic"]));
        assert_eq!(schemes(""), names(&[]));
    }

    #[test]
    fn malformed_challenges_are_refused() {
        for header in [
            r#"Bearer realm="unterminated"#,
            r#"Bearer realm="x\"#,
            r#"realm="no scheme""#,
            "Bearer a=\"\u{1}\"",
            "Bearer a=\"x\r\nSet-Cookie: y\"",
            "Bearer a=b=\"",
            "=",
            "\"",
            "Bearer a=\"\" \u{e9}",
        ] {
            assert_eq!(parse(header.as_bytes()), None, "{header:?}");
        }
        assert_eq!(parse(b"Bearer a=\"\xff\""), None);
        assert_eq!(parse(&b"a=".repeat(5000)), None);
        assert_eq!(parse(format!("Bearer {}", "a=b,".repeat(17)).as_bytes()), None);
        assert_eq!(parse("Basic,".repeat(17).as_bytes()), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_fail(header in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = parse(&header);
        }

        #[test]
        fn quoting_is_undone(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges = parse(format!("Bearer realm=\"{quoted}\"").as_bytes()).unwrap();
            proptest::prop_assert_eq!(challenges[0].get("realm"), Some(value.as_str()));
        }
    }
}
