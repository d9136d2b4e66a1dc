use proptest::prelude::*;

use super::*;

/// Values of every type that we know, nested.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<u64>().prop_map(Value::F64),
        "[^\0]{0,20}".prop_map(Value::Str),
        Just(Value::Path("/org/freedesktop/systemd1".into())),
        Just(Value::Signature("a(sv)".into())),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            (inner.clone(), 0usize..5)
                .prop_map(|(v, n)| { Value::Array(v.signature(), std::iter::repeat_n(v, n).collect()) }),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            inner.prop_map(Value::variant),
        ]
    })
}

fn message(body: Vec<Value>) -> Message {
    Message {
        serial: 7,
        answers: Some(3),
        destination: "org.freedesktop.systemd1".into(),
        error: "some.Error".into(),
        ..Message::call("/a/b", "a.b", "Do", body)
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(body in prop::collection::vec(value(), 0..5)) {
        let message = message(body);
        let bytes = message.encode();
        prop_assert_eq!(Message::length(bytes[..FIXED].try_into().unwrap()), Some(bytes.len()));
        prop_assert_eq!(Message::decode(&bytes), Some(message));
    }

    #[test]
    fn a_message_that_was_cut_is_none(body in prop::collection::vec(value(), 1..4), cut in 1usize..64) {
        let bytes = message(body).encode();
        let kept = bytes.len().saturating_sub(cut);
        prop_assert_eq!(Message::decode(&bytes[..kept]), None);
    }

    #[test]
    fn no_bytes_do_harm(
        body in prop::collection::vec(value(), 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = message(body).encode();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Message::decode(&bytes);
        let _ = Message::length(bytes[..FIXED].try_into().unwrap());
        let _ = Message::decode(&junk);
    }
}

/// Bytes written down by hand after the specification, "Message Format".
#[test]
fn a_call_looks_as_the_specification_has_it() {
    let call = Message {
        serial: 1,
        destination: "a.b".into(),
        ..Message::call("/", "i", "M", vec![Value::Bool(true), Value::text("x")])
    };
    let mut expected = Vec::new();
    expected.extend(b"l\x01\x00\x01\x0a\x00\x00\x00\x01\x00\x00\x00");
    expected.extend(72u32.to_le_bytes());
    expected.extend(b"\x02\x01s\x00\x01\x00\x00\x00i\x00\x00\x00\x00\x00\x00\x00");
    expected.extend(b"\x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00");
    expected.extend(b"\x06\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00");
    expected.extend(b"\x08\x01g\x00\x02bs\x00");
    expected.extend(b"\x01\x01o\x00\x01\x00\x00\x00/\x00");
    let fields = expected.len() - 16;
    expected[12..16].copy_from_slice(&(fields as u32).to_le_bytes());
    pad(&mut expected, 8);
    expected.extend(b"\x01\x00\x00\x00\x01\x00\x00\x00x\x00");
    assert_eq!(call.encode(), expected);
}

#[test]
fn the_other_byte_order_is_understood() {
    let mut bytes = b"B\x02\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x00\x00\x0f".to_vec();
    bytes.extend(b"\x05\x01u\x00\x00\x00\x00\x07\x08\x01g\x00\x01u\x00\x00");
    bytes.extend(b"\x00\x00\x01\x00");
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.answers, message.serial, &message.body[..]), (Some(7), 9, &[Value::U32(256)][..]));
}

#[test]
fn sizes_that_a_peer_announces_are_not_believed() {
    let mut start = [0; FIXED];
    start[..4].copy_from_slice(b"l\x02\x00\x01");
    for at in [4, 12] {
        let mut start = start;
        start[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Message::length(&start), None);
    }
    assert_eq!(Message::length(&start), Some(16));
}
