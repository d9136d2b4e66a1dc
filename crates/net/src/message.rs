//! Netlink messages as bytes (netlink(7), rtnetlink(7)): built here, and taken apart here. Both are pure functions; what
//! comes from the kernel is read as if it came from anybody.

/// Header of a message: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// Header of an attribute: length, type.
const ATTRIBUTE: usize = 4;
/// Bits of an attribute's type that are not its number: nested, network byte order.
const KIND: u16 = 0x3fff;

/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_ACK`
const ACK: u16 = 4;
/// `NLM_F_DUMP`
const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_CREATE`
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`
pub(crate) const APPEND: u16 = 0x800;
/// `NLM_F_DUMP_INTR`, in an answer: what was listed has changed meanwhile.
const INTERRUPTED: u16 = 0x10;
/// `NLM_F_ACK_TLVS`, in an answer: attributes follow.
const HAS_ATTRIBUTES: u16 = 0x200;
/// `NLM_F_CAPPED`, in an answer: the request's payload is not repeated.
const CAPPED: u16 = 0x100;

/// `NLMSG_ERROR`, also the acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// `NLMSGERR_ATTR_MSG`
const TEXT: u16 = 1;

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// One that is answered by an acknowledgement. `head` is the structure that messages of this kind begin with.
    pub(crate) fn new(kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | ACK | flags).to_ne_bytes());
        bytes.extend(head);
        Self { bytes }.aligned()
    }

    /// One that is answered by a list.
    pub(crate) fn dump(kind: u16, head: &[u8]) -> Self {
        let mut request = Self::new(kind, 0, head);
        request.bytes[6..8].copy_from_slice(&(REQUEST | DUMP).to_ne_bytes());
        request
    }

    /// Adds an attribute. One that is longer than 64 KiB cannot be said and is cut.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX) - ATTRIBUTE)];
        self.bytes.extend(((ATTRIBUTE + value.len()) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.aligned()
    }

    /// Adds a name, which ends with a zero.
    pub(crate) fn with_name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &[name.as_bytes(), &[0]].concat())
    }

    fn aligned(mut self) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// What is sent.
    pub(crate) fn finish(&self, sequence: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(&self.bytes);
        out[start..start + 4].copy_from_slice(&(self.bytes.len() as u32).to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// What a message means for who asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// Done as asked, or the end of a list.
    Done,
    /// Not done.
    Refused { errno: i32, text: Option<String> },
    /// Something that was asked for; more follows.
    Item(&'a [u8]),
}

impl<'a> Message<'a> {
    /// `None` for an answer that is cut off.
    pub(crate) fn answer(&self) -> Option<Answer<'a>> {
        if self.kind != ERROR && self.kind != DONE {
            return Some(Answer::Item(self.payload));
        }
        let (errno, rest) = match self.payload.split_first_chunk::<4>() {
            Some((errno, rest)) => (i32::from_ne_bytes(*errno), rest),
            // Kernels may say no more than that a list is over.
            None if self.kind == DONE => return Some(Answer::Done),
            None => return None,
        };
        if errno == 0 {
            return Some(Answer::Done);
        }
        Some(Answer::Refused { errno: errno.checked_neg()?, text: self.text(rest) })
    }

    /// Why it was refused, if the kernel says so: an attribute behind the request's header, which is repeated.
    fn text(&self, rest: &[u8]) -> Option<String> {
        if self.flags & HAS_ATTRIBUTES == 0 {
            return None;
        }
        let skip = match self.kind {
            DONE => 0,
            _ if self.flags & CAPPED != 0 => HEADER,
            _ => usize::try_from(number(rest.first_chunk()?)).ok()?.next_multiple_of(4),
        };
        let text = Attributes(rest.get(skip..)?).find(|(kind, _)| *kind == TEXT)?.1;
        Some(as_text(text)).filter(|t| !t.is_empty())
    }

    /// Whether the list this belongs to changed while it was made.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.flags & INTERRUPTED != 0
    }
}

/// The messages of what was received; what cannot be one ends the list.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let bytes = self.0;
        let header = bytes.first_chunk::<HEADER>()?;
        let length = usize::try_from(number(&[header[0], header[1], header[2], header[3]])).ok()?;
        let payload = bytes.get(HEADER..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: number(&[header[8], header[9], header[10], header[11]]),
            payload,
        })
    }
}

/// Attributes, as number and value; what cannot be one ends the list.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<ATTRIBUTE>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]) & KIND, value))
    }
}

/// A number of 32 bits, as the machine writes it.
pub(crate) fn number(bytes: &[u8; 4]) -> u32 {
    u32::from_ne_bytes(*bytes)
}

/// A text that may end with a zero.
pub(crate) fn as_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        request.finish(7, &mut out);
        out
    }

    #[test]
    fn what_is_built_is_what_is_read() {
        let request = Request::new(16, CREATE, &[1, 2, 3, 4]).with_name(3, "eth0").with(0x8004, &[9; 4]);
        let bytes = [sent(&request), sent(&Request::dump(18, &[0; 16]))].concat();
        let messages: Vec<_> = Messages(&bytes).collect();
        assert_eq!((messages.len(), messages[0].kind, messages[0].sequence), (2, 16, 7));
        assert_eq!(messages[0].flags, REQUEST | ACK | CREATE);
        assert_eq!(messages[1].flags, REQUEST | DUMP);
        let Some(Answer::Item(payload)) = messages[0].answer() else { panic!("{messages:?}") };
        let attributes: Vec<_> = Attributes(&payload[4..]).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (4, &[9; 4][..])]);
    }

    fn refusal(flags: u16, tail: &[u8]) -> Vec<u8> {
        let mut bytes =
            sent(&Request::new(ERROR, 0, &[(-17i32).to_ne_bytes().to_vec(), tail.to_vec()].concat()));
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_refusal_says_why_if_the_kernel_does() {
        let request = sent(&Request::new(16, 0, &[0; 16]));
        let text = &sent(&Request::new(0, 0, &[]).with_name(TEXT, "name is taken"))[HEADER..];
        let (short, whole) = ([&request[..HEADER], text].concat(), [&request[..], text].concat());
        for (flags, tail) in [(CAPPED | HAS_ATTRIBUTES, &short), (HAS_ATTRIBUTES, &whole)] {
            let bytes = refusal(flags, tail);
            let message = Messages(&bytes).next().unwrap();
            let expected = Answer::Refused { errno: 17, text: Some("name is taken".to_owned()) };
            assert_eq!(message.answer(), Some(expected));
        }
        let bytes = refusal(CAPPED, &request[..HEADER]);
        let message = Messages(&bytes).next().unwrap();
        assert_eq!(message.answer(), Some(Answer::Refused { errno: 17, text: None }));
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        let mut bytes = sent(&Request::new(16, 0, &[0; 16]).with(1, &[0; 4]));
        for length in [0u32, 15, 41, u32::MAX] {
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Messages(&bytes).next(), None, "{length}");
        }
        for length in [0u8, 3, 9, 255] {
            assert_eq!(Attributes(&[length, 0, 1, 0, 5, 5, 5, 5]).next(), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), length: u8) {
            // Mostly one whole message, or nothing would be looked into.
            if let Some(first) = bytes.first_chunk_mut::<4>() {
                *first = u32::from(length).to_ne_bytes();
            }
            for message in Messages(&bytes) {
                message.answer();
                prop_assert!(Attributes(message.payload).count() <= message.payload.len());
            }
            // What is asked for is read from the payload alone.
            let _ = (crate::link::parse(&bytes), crate::address::parse(&bytes), crate::route::parse(&bytes));
        }
    }
}
