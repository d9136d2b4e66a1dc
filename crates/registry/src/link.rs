//! `Link` (RFC 8288): where the next page of a list is.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hyper::HeaderMap;
use hyper::header::LINK;

use crate::client::{Call, Client, Place};
use crate::error::{Error, Problem};
use crate::url::Target;

/// Most pages of a list. Registries send 50 to 1,000 entries on one, so this is some 1,600,000 of them at least.
pub(crate) const MAX_PAGES: usize = 32_768;

/// The pages of a list that were read: each is there once, and all together have so many bytes at most.
pub(crate) struct Pages {
    /// Hashes of their paths.
    seen: HashSet<u64>,
    state: RandomState,
    bytes: usize,
    limit: usize,
}

impl Pages {
    /// None yet of the list that begins at `first`.
    pub(crate) fn new(first: &str, limit: usize) -> Self {
        let state = RandomState::new();
        Self { seen: [state.hash_one(first)].into_iter().collect(), state, bytes: 0, limit }
    }

    /// Takes note of the page at `path`, which had `bytes`. The path of the next one; `None` after the last.
    pub(crate) fn next(
        &mut self,
        client: &Client,
        call: &Call,
        path: &str,
        headers: &HeaderMap,
        bytes: usize,
    ) -> Result<Option<String>, Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit {
            let (object, host) = (call.object.clone(), client.host.name.clone());
            return Err(Error::TooLarge { object, host, limit: self.limit as u64 });
        }
        let next = next_page(client, call, path, headers)?;
        match next.as_deref().map(|next| self.note(next)) {
            Some(Err(problem)) => Err(client.problem(call, problem)),
            _ => Ok(next),
        }
    }

    fn note(&mut self, next: &str) -> Result<(), Problem> {
        if self.seen.len() == MAX_PAGES {
            return Err(Problem::Pages);
        }
        if self.seen.insert(self.state.hash_one(next)) { Ok(()) } else { Err(Problem::PageAgain) }
    }
}

/// The path of the next page after the one at `path`; `None` after the last.
///
/// Of the link only the query is used: the next page is on the same host, below the same path, and asked for in the
/// way that was found to work. A proxy that speaks TLS for a registry often leaves it believing in plain http.
fn next_page(client: &Client, call: &Call, path: &str, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(link) = headers.get_all(LINK).iter().find_map(|link| next(link.to_str().ok()?)) else {
        return Ok(None);
    };
    let followed = client.origin().and_then(|origin| {
        let here = Target { origin, path: path.to_owned() };
        let there = here.join(link)?;
        let plain = |path: &str| path.split('?').next().map(str::to_owned);
        let ours = there.origin.host == here.origin.host && plain(&there.path) == plain(path);
        ours.then_some(there.path)
    });
    followed.map(Some).ok_or_else(|| client.problem(call, Problem::Link))
}

/// The call for another page.
pub(crate) fn turn(call: &Call, path: String) -> Call {
    Call { place: Place::Registry(path), ..call.clone() }
}

/// The target of the link whose relation is `next`.
fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let start = rest.find('<')? + 1;
        let end = start + rest[start..].find('>')?;
        let target = &rest[start..end];
        let (parameters, after) = split_link(&rest[end + 1..]);
        let is_next = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let relations = value.trim().trim_matches('"').split(' ');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.into_iter().any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

/// The rest of one link and what follows its comma.
fn split_link(text: &str) -> (&str, &str) {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    end.map_or((text, ""), |end| (&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found() {
        for (header, expected) in [
            (r#"</v2/_catalog?last=b&n=2>; rel="next""#, Some("/v2/_catalog?last=b&n=2")),
            ("<x>;rel=next", Some("x")),
            (r#"<a,b>; rel="last"; title="x, y", <c>; title="<d>"; REL = "prev NEXT""#, Some("c")),
            ("<x>; rel=prev", None),
            ("<x>", None),
            ("<x", None),
            ("", None),
            (r#"<x>; rel="next"#, Some("x")),
        ] {
            assert_eq!(next(header), expected, "{header}");
        }
    }

    #[test]
    fn pages_come_once_and_end() {
        let mut pages = Pages::new("/0", 1);
        for page in 1..MAX_PAGES {
            pages.note(&format!("/{page}")).unwrap();
        }
        assert_eq!(pages.note("/one more"), Err(Problem::Pages));
        let mut pages = Pages::new("/0", 1);
        pages.note("/1").unwrap();
        assert_eq!((pages.note("/0"), pages.note("/1")), (Err(Problem::PageAgain), Err(Problem::PageAgain)));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_fail(header in "[ -~]{0,60}", odd in "[<>\";,= a]{0,30}") {
            let _ = (next(&header), next(&odd));
        }
    }
}
