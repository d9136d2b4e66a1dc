//! DNS messages (RFC 1035 section 4, AAAA: RFC 3596): A and AAAA questions and their answers.
//!
//! Bounds that hold for any input: a compression pointer must point before the name part it stands in, so
//! decoding ends; a name has at most 255 bytes and a label 63; records are read only inside the message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name on the wire, length bytes and root included (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// Longest label (same place).
const MAX_LABEL: usize = 63;
/// CNAMEs followed inside one answer.
const MAX_ALIASES: usize = 16;

const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    A,
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Addresses, in the server's order; empty when the name exists without any of this kind.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoName,
    /// Cut short: ask again over TCP.
    Truncated,
    /// SERVFAIL, REFUSED and other response codes: ask another server.
    Failed,
}

/// Why a name cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidName;

/// A recursive query. `name` is dotted, with or without the final dot.
pub(crate) fn query(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, InvalidName> {
    let mut out = Vec::with_capacity(18 + name.len());
    out.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question, no records.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let start = out.len();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).map_err(|_| InvalidName)?;
        if label.is_empty() || label.len() > MAX_LABEL || !label.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidName);
        }
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - start > MAX_NAME {
        return Err(InvalidName);
    }
    out.extend_from_slice(&kind.code().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Ok(out)
}

/// Reads the response to a query made by [`query`]; `None` when it is malformed or not that query's.
pub(crate) fn answer(query: &[u8], response: &[u8]) -> Option<Answer> {
    let mut reader = Reader { message: response, at: 0 };
    let id = reader.bytes(2)?;
    let flags = reader.u16()?;
    let [questions, answers] = [reader.u16()?, reader.u16()?];
    reader.bytes(4)?;
    let is_response = flags & 0x8000 != 0 && flags & 0x7800 == 0;
    if id != query.get(..2)? || !is_response || questions != 1 {
        return None;
    }
    let mut asked = Reader { message: query, at: 12 };
    let (name, kind) = (asked.name()?, asked.u16()?);
    if reader.name()? != name || reader.u16()? != kind || reader.u16()? != CLASS_IN {
        return None;
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    match flags & 0x000f {
        0 => Some(Answer::Addresses(addresses(&mut reader, answers, name, kind)?)),
        3 => Some(Answer::NoName),
        _ => Some(Answer::Failed),
    }
}

/// The addresses that `name`, or the name it is an alias of, has in the answer section.
fn addresses(reader: &mut Reader<'_>, records: u16, name: Vec<u8>, kind: u16) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    let mut aliases = Vec::new();
    for _ in 0..records {
        let owner = reader.name()?;
        let (record, class) = (reader.u16()?, reader.u16()?);
        reader.bytes(4)?;
        let length = usize::from(reader.u16()?);
        let start = reader.at;
        let data = reader.bytes(length)?;
        if class != CLASS_IN {
            continue;
        }
        if record == TYPE_CNAME {
            let mut target = Reader { message: reader.message, at: start };
            aliases.push((owner, target.name()?));
        } else if record == kind {
            found.push((owner, address(data)?));
        }
    }
    let mut name = name;
    for _ in 0..MAX_ALIASES {
        let Some((_, target)) = aliases.iter().find(|(owner, _)| *owner == name) else { break };
        name.clone_from(target);
    }
    Some(found.into_iter().filter(|(owner, _)| *owner == name).map(|(_, address)| address).collect())
}

fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(data) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into())
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// A name as on the wire without compression, in lower case: comparable byte by byte.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut part = Reader { message: self.message, at: self.at };
        let mut part_start = self.at;
        let mut end = None;
        loop {
            let length = usize::from(*part.bytes(1)?.first()?);
            match length {
                0 => break,
                1..=MAX_LABEL => {
                    let label = part.bytes(length)?;
                    if name.len() + length + 2 > MAX_NAME {
                        return None;
                    }
                    name.push(u8::try_from(length).ok()?);
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                }
                0xc0.. => {
                    let low = usize::from(*part.bytes(1)?.first()?);
                    end.get_or_insert(part.at);
                    let target = (length & 0x3f) << 8 | low;
                    if target >= part_start {
                        return None;
                    }
                    part_start = target;
                    part.at = target;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(part.at);
        Some(name)
    }
}

#[cfg(test)]
mod tests;
