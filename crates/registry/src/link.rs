//! `Link` (RFC 8288): where the next page of a list is.

use hyper::HeaderMap;
use hyper::header::LINK;

use crate::client::{Call, Client, Place};
use crate::error::{Error, Problem};
use crate::url::Target;

/// Most pages of a list. Registries send 50 to 1,000 entries on one.
pub(crate) const MAX_PAGES: usize = 3_000;

/// The path of the next page after the one at `path`; `None` after the last.
///
/// Of the link only the query is used: the next page is on the same host, below the same path, and asked for in the
/// way that was found to work. A proxy that speaks TLS for a registry often leaves it believing in plain http.
pub(crate) fn next_page(
    client: &Client,
    call: &Call,
    path: &str,
    headers: &HeaderMap,
) -> Result<Option<String>, Error> {
    let Some(link) = headers.get_all(LINK).iter().find_map(|link| next(link.to_str().ok()?)) else {
        return Ok(None);
    };
    let followed = client.origin().and_then(|origin| {
        let here = Target { origin, path: path.to_owned() };
        let there = here.join(link)?;
        let plain = |path: &str| path.split('?').next().map(str::to_owned);
        let ours = there.origin.host == here.origin.host && plain(&there.path) == plain(path);
        (ours && there.path != path).then_some(there.path)
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

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_fail(header in "[ -~]{0,60}", odd in "[<>\";,= a]{0,30}") {
            let _ = (next(&header), next(&odd));
        }
    }
}
