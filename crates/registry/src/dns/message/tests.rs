use proptest::prelude::*;

use super::*;

/// A response to `query` whose answer section is `records`.
fn response(query: &[u8], flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
    let mut out = query.to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[6..8].copy_from_slice(&count.to_be_bytes());
    out.extend_from_slice(records);
    out
}

/// One record; `owner` is already encoded.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend_from_slice(data);
    out
}

const OK: u16 = 0x8180;
/// A pointer to the question's name.
const ASKED: &[u8] = &[0xc0, 12];

#[test]
fn a_query_is_encoded_as_the_rfc_says() {
    let bytes = query(0x1234, "quay.io", Kind::Aaaa).unwrap();
    assert_eq!(bytes, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04quay\x02io\x00\x00\x1c\x00\x01");
    assert_eq!(query(0x1234, "quay.io.", Kind::Aaaa).unwrap(), bytes);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let label = "a".repeat(64);
    let long = ["abcdefg"; 32].join(".");
    for name in ["", ".", "a..b", ".a", &label, &long, "a b", "\u{e4}"] {
        assert_eq!(query(1, name, Kind::A), Err(InvalidName), "{name:?}");
    }
}

#[test]
fn addresses_are_found_through_aliases() {
    let query = query(7, "Reg.example", Kind::A).unwrap();
    // reg.example → b.reg.example → 192.0.2.1, in the wrong order, and somebody else's address.
    let mut records = record(b"\x01b\xc0\x0c", 1, &[192, 0, 2, 1]);
    records.extend(record(ASKED, 5, b"\x01B\xc0\x0c"));
    records.extend(record(b"\x04evil\x00", 1, &[203, 0, 113, 1]));
    let answered = answer(&query, &response(&query, OK, 3, &records));
    assert_eq!(answered, Some(Answer::Addresses(vec![Ipv4Addr::new(192, 0, 2, 1).into()])));
}

#[test]
fn ipv6_addresses_are_read() {
    let query = query(7, "a.b", Kind::Aaaa).unwrap();
    let records = record(ASKED, 28, &Ipv6Addr::LOCALHOST.octets());
    let answered = answer(&query, &response(&query, OK, 1, &records));
    assert_eq!(answered, Some(Answer::Addresses(vec![Ipv6Addr::LOCALHOST.into()])));
}

#[test]
fn response_codes_are_told_apart() {
    let query = query(7, "a.b", Kind::A).unwrap();
    for (flags, expected) in [
        (OK, Answer::Addresses(vec![])),
        (OK | 3, Answer::NoName),
        (OK | 2, Answer::Failed),
        (OK | 5, Answer::Failed),
        (OK | 0x0200, Answer::Truncated),
    ] {
        assert_eq!(answer(&query, &response(&query, flags, 0, &[])), Some(expected));
    }
}

#[test]
fn responses_to_other_questions_are_ignored() {
    let mine = query(7, "a.b", Kind::A).unwrap();
    for other in [query(8, "a.b", Kind::A), query(7, "a.c", Kind::A), query(7, "a.b", Kind::Aaaa)] {
        assert_eq!(answer(&mine, &response(&other.unwrap(), OK, 0, &[])), None);
    }
    assert_eq!(answer(&mine, &mine), None, "a query is no response");
}

#[test]
fn compression_loops_end() {
    let query = query(7, "a.b", Kind::A).unwrap();
    let here = u8::try_from(query.len()).unwrap();
    for owner in [
        vec![0xc0, here],          // itself
        vec![0xc0, here + 2],      // forward
        vec![1, b'x', 0xc0, here], // grows for ever
        vec![0xff, 0xff],          // outside
        vec![0x80, 0],             // reserved
        vec![63],                  // cut off
    ] {
        let records = record(&owner, 1, &[1, 2, 3, 4]);
        assert_eq!(answer(&query, &response(&query, OK, 1, &records)), None, "{owner:?}");
    }
}

#[test]
fn cut_off_records_are_refused() {
    let query = query(7, "a.b", Kind::A).unwrap();
    let whole = response(&query, OK, 1, &record(ASKED, 1, &[1, 2, 3, 4]));
    for length in 0..whole.len() {
        assert_eq!(answer(&query, &whole[..length]), None, "{length}");
    }
    let wrong_size = response(&query, OK, 1, &record(ASKED, 1, &[1, 2, 3]));
    assert_eq!(answer(&query, &wrong_size), None);
}

#[test]
fn alias_circles_end() {
    let query = query(7, "a.b", Kind::A).unwrap();
    let records = record(ASKED, 5, ASKED);
    assert_eq!(answer(&query, &response(&query, OK, 1, &records)), Some(Answer::Addresses(vec![])));
}

proptest! {
    #[test]
    fn nothing_makes_the_decoder_fail(
        count in 0u16..8,
        records in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let query = query(7, "reg.example", Kind::A).unwrap();
        let _ = answer(&query, &records);
        let _ = answer(&query, &response(&query, OK, count, &records));
    }
}
