//! D-Bus messages as bytes (D-Bus Specification, "Type System" and "Message Protocol"): what systemd's manager needs of
//! them. Pure functions; sizes and depths that a peer announces are checked before they are believed.

/// A longer message is not for us: the longest that we ask for is a list of a unit's properties.
const MAX_MESSAGE: usize = 1 << 20;
/// How deep containers may be nested (the specification allows 64).
const MAX_DEPTH: usize = 16;

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    /// The bits of a floating point number: nobody here counts with it.
    F64(u64),
    Str(String),
    Path(String),
    Signature(String),
    /// The type of its elements, and they.
    Array(String, Vec<Value>),
    /// A dictionary's entry, too.
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Array("y".into(), bytes.iter().map(|&b| Self::Byte(b)).collect())
    }

    pub(crate) fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) | Self::Path(s) | Self::Signature(s) => Some(s),
            Self::Variant(inner) => inner.as_str(),
            _ => None,
        }
    }

    /// Its type, as the specification writes it.
    pub(crate) fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Bool(_) => "b".into(),
            Self::I32(_) => "i".into(),
            Self::U32(_) => "u".into(),
            Self::I64(_) => "x".into(),
            Self::U64(_) => "t".into(),
            Self::F64(_) => "d".into(),
            Self::Str(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", signature(fields)),
            Self::Variant(_) => "v".into(),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(b) => out.push(*b),
            Self::Bool(b) => put_aligned(out, 4, &u32::from(*b).to_le_bytes()),
            Self::I32(n) => put_aligned(out, 4, &n.to_le_bytes()),
            Self::U32(n) => put_aligned(out, 4, &n.to_le_bytes()),
            Self::I64(n) => put_aligned(out, 8, &n.to_le_bytes()),
            Self::U64(n) | Self::F64(n) => put_aligned(out, 8, &n.to_le_bytes()),
            Self::Str(s) | Self::Path(s) => {
                put_aligned(out, 4, &(s.len() as u32).to_le_bytes());
                out.extend(s.as_bytes());
                out.push(0);
            }
            Self::Signature(s) => put_signature(out, s),
            Self::Array(element, values) => {
                put_aligned(out, 4, &[0; 4]);
                let length = out.len() - 4;
                pad(out, alignment(element.as_bytes().first().copied().unwrap_or(b'y')));
                let start = out.len();
                values.iter().for_each(|v| v.put(out));
                let bytes = (out.len() - start) as u32;
                out[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
            }
            Self::Struct(fields) => {
                pad(out, 8);
                fields.iter().for_each(|f| f.put(out));
            }
            Self::Variant(inner) => {
                put_signature(out, &inner.signature());
                inner.put(out);
            }
        }
    }
}

fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_aligned(out: &mut Vec<u8>, to: usize, bytes: &[u8]) {
    pad(out, to);
    out.extend(bytes);
}

fn put_signature(out: &mut Vec<u8>, text: &str) {
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
    out.push(0);
}

fn alignment(code: u8) -> usize {
    match code {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// The length of the first complete type of a signature.
fn first_type(signature: &[u8], depth: usize) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    match signature.first()? {
        b'a' => Some(1 + first_type(&signature[1..], depth + 1)?),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while *signature.get(at)? != close {
                at += first_type(&signature[at..], depth + 1)?;
            }
            (at > 1).then_some(at + 1)
        }
        b'y' | b'b' | b'n' | b'q' | b'h' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => {
            Some(1)
        }
        _ => None,
    }
}

/// Reads values from the bytes of a message, at whose beginning offsets are counted.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.data.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(bytes)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn u16(&mut self) -> Option<u16> {
        self.align(2)?;
        let bytes = self.take(2)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u64(&mut self) -> Option<u64> {
        self.align(8)?;
        let bytes = self.take(8)?.try_into().ok()?;
        Some(if self.little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.take(1)? == [0]).then_some(text)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    /// The value of one complete type.
    fn value(&mut self, kind: &[u8], depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match *kind.first()? {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.u32()? != 0),
            b'i' => Value::I32(self.u32()?.cast_signed()),
            // A descriptor is a number, and short numbers are as good long.
            b'u' | b'h' => Value::U32(self.u32()?),
            b'n' => Value::I32(self.u16()?.cast_signed().into()),
            b'q' => Value::U32(self.u16()?.into()),
            b'x' => Value::I64(self.u64()?.cast_signed()),
            b't' => Value::U64(self.u64()?),
            b'd' => Value::F64(self.u64()?),
            b's' => Value::Str(self.u32().and_then(|n| self.text(n as usize))?),
            b'o' => Value::Path(self.u32().and_then(|n| self.text(n as usize))?),
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                (first_type(inner.as_bytes(), depth)? == inner.len()).then_some(())?;
                Value::Variant(Box::new(self.value(inner.as_bytes(), depth + 1)?))
            }
            b'a' => self.array(&kind[1..], depth)?,
            b'(' | b'{' => {
                self.align(8)?;
                Value::Struct(self.values(kind.get(1..kind.len() - 1)?, depth + 1)?)
            }
            _ => return None,
        })
    }

    fn array(&mut self, element: &[u8], depth: usize) -> Option<Value> {
        let length = self.u32()? as usize;
        self.align(alignment(*element.first()?))?;
        let end = self.at.checked_add(length).filter(|&e| e <= self.data.len())?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth + 1)?);
        }
        let element = std::str::from_utf8(element).ok()?.to_owned();
        (self.at == end).then_some(Value::Array(element, values))
    }

    fn values(&mut self, mut signature: &[u8], depth: usize) -> Option<Vec<Value>> {
        let mut out = Vec::new();
        while !signature.is_empty() {
            let (kind, rest) = signature.split_at_checked(first_type(signature, depth)?)?;
            out.push(self.value(kind, depth)?);
            signature = rest;
        }
        Some(out)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

/// A message without what we have no use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    /// The serial of the call that this answers.
    pub(crate) answers: Option<u32>,
    pub(crate) path: String,
    pub(crate) interface: String,
    pub(crate) member: String,
    /// The name of an error.
    pub(crate) error: String,
    pub(crate) destination: String,
    pub(crate) body: Vec<Value>,
}

/// Length of the part of the header that is in every message.
pub(crate) const FIXED: usize = 16;

impl Message {
    /// A call of a method of the object at `path`.
    pub(crate) fn call(path: &str, interface: &str, member: &str, body: Vec<Value>) -> Self {
        Self {
            kind: Kind::Call,
            serial: 0,
            answers: None,
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            error: String::new(),
            destination: String::new(),
            body,
        }
    }

    /// The bytes to send.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.iter().for_each(|v| v.put(&mut body));
        let mut fields = Vec::new();
        let mut field = |code: u8, value: Value| {
            fields.push(Value::Struct(vec![Value::Byte(code), value.variant()]));
        };
        let texts = [
            (2, Value::Str(self.interface.clone())),
            (3, Value::Str(self.member.clone())),
            (4, Value::Str(self.error.clone())),
            (6, Value::Str(self.destination.clone())),
            (8, Value::Signature(signature(&self.body))),
            (1, Value::Path(self.path.clone())),
        ];
        for (code, text) in texts {
            if text.as_str() != Some("") {
                field(code, text);
            }
        }
        if let Some(serial) = self.answers {
            field(5, Value::U32(serial));
        }
        let mut out = vec![b'l', self.kind as u8, 0, 1];
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        Value::Array("(yv)".into(), fields).put(&mut out);
        pad(&mut out, 8);
        out.extend(body);
        out
    }

    /// How many bytes the message has whose first [`FIXED`] these are; `None` when it is none, or too long.
    pub(crate) fn length(start: &[u8; FIXED]) -> Option<usize> {
        let mut reader = Self::reader(start)?;
        reader.at = 4;
        let body = reader.u32()? as usize;
        reader.at = 12;
        let fields = reader.u32()? as usize;
        let header = FIXED.checked_add(fields)?.next_multiple_of(8);
        header.checked_add(body).filter(|&n| fields <= MAX_MESSAGE && n <= MAX_MESSAGE)
    }

    fn reader(data: &[u8]) -> Option<Reader<'_>> {
        let little = match data.first()? {
            b'l' => true,
            b'B' => false,
            _ => return None,
        };
        Some(Reader { data, at: 0, little })
    }

    /// Reads a whole message.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut reader = Self::reader(data)?;
        reader.at = 8;
        let serial = reader.u32()?;
        let kind = match data.get(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return None,
        };
        let mut message = Self { kind, serial, ..Self::call("", "", "", Vec::new()) };
        let mut body = String::new();
        let Value::Array(_, fields) = reader.array(b"(yv)", 0)? else { return None };
        for field in fields {
            let Value::Struct(field) = field else { return None };
            let [Value::Byte(code), Value::Variant(value)] = &field[..] else { return None };
            let text = || value.as_str().map(str::to_owned);
            match code {
                1 => message.path = text()?,
                2 => message.interface = text()?,
                3 => message.member = text()?,
                4 => message.error = text()?,
                5 => match **value {
                    Value::U32(serial) => message.answers = Some(serial),
                    _ => return None,
                },
                6 => message.destination = text()?,
                8 => body = text()?,
                // The sender, file descriptors, and what will be invented.
                _ => {}
            }
        }
        reader.align(8)?;
        message.body = reader.values(body.as_bytes(), 0)?;
        (reader.at == data.len()).then_some(message)
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
