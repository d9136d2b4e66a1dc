//! Sparse files: old GNU headers and the three PAX forms (GNU tar manual, "Storing Sparse Files").

use super::HeaderProblem;
use super::header::number;
use super::pax::{Pax, decimal};

/// A run of stored bytes and where it belongs in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// How the PAX records of an entry say it is sparse.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// 0.0 and 0.1: the map is in the header.
    Map(Vec<Extent>),
    /// 1.0: the map precedes the data.
    InData,
}

/// A sparse file as announced by PAX records.
pub(super) struct Announced {
    pub(super) form: Form,
    /// Size of the file, holes included.
    pub(super) size: u64,
    /// Its real name; the header's is made up for readers that do not know sparse files.
    pub(super) name: Option<Vec<u8>>,
}

/// More extents than any real file system image needs, few enough to hold in memory.
const MAX_EXTENTS: usize = 1 << 20;

/// What the PAX records of an entry say about sparseness, if anything.
pub(super) fn from_pax(pax: &Pax) -> Result<Option<Announced>, HeaderProblem> {
    let value = |key: &[u8]| pax.sparse.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
    if pax.sparse.is_empty() {
        return Ok(None);
    }
    let size = value(b"realsize").or(value(b"size")).and_then(decimal).ok_or(HeaderProblem::Sparse)?;
    let form = match (value(b"major"), value(b"minor")) {
        (Some(b"1"), Some(b"0")) => Form::InData,
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => Form::Map(match value(b"map") {
            Some(map) => pairs(map.split(|&b| b == b','))?,
            None => pairs(repeated(pax)?.iter().copied())?,
        }),
        _ => return Err(HeaderProblem::Sparse),
    };
    Ok(Some(Announced { form, size, name: value(b"name").map(<[u8]>::to_vec) }))
}

/// The 0.0 form: alternating `offset` and `numbytes` records.
fn repeated(pax: &Pax) -> Result<Vec<&[u8]>, HeaderProblem> {
    let mut values = Vec::new();
    for (key, value) in &pax.sparse {
        let wanted: &[u8] = if values.len() % 2 == 0 { b"offset" } else { b"numbytes" };
        match key.as_slice() {
            b"offset" | b"numbytes" if key != wanted => return Err(HeaderProblem::Sparse),
            b"offset" | b"numbytes" => values.push(value.as_slice()),
            _ => {}
        }
    }
    Ok(values)
}

fn pairs<'a>(mut numbers: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Extent>, HeaderProblem> {
    let mut extents = Vec::new();
    while let Some(offset) = numbers.next() {
        if offset.is_empty() && extents.is_empty() {
            break; // an empty map
        }
        let length = numbers.next().ok_or(HeaderProblem::Sparse)?;
        push(&mut extents, decimal(offset), decimal(length))?;
    }
    Ok(extents)
}

fn push(extents: &mut Vec<Extent>, offset: Option<u64>, length: Option<u64>) -> Result<(), HeaderProblem> {
    match (offset, length) {
        (Some(offset), Some(length)) if extents.len() < MAX_EXTENTS => {
            extents.push(Extent { offset, length })
        }
        _ => return Err(HeaderProblem::Sparse),
    }
    Ok(())
}

/// Adds the used slots of an old GNU header (4 slots) or extension block (21 slots).
pub(super) fn push_gnu(
    extents: &mut Vec<Extent>,
    slots: &[tar::GnuSparseHeader],
) -> Result<(), HeaderProblem> {
    for slot in slots.iter().take_while(|slot| slot.offset[0] != 0) {
        let field = |bytes: &[u8]| number(bytes).and_then(|n| u64::try_from(n).ok());
        push(extents, field(&slot.offset), field(&slot.numbytes))?;
    }
    Ok(())
}

/// How many lines the map in front of 1.0 data has: a count, then two numbers for each extent.
pub(super) fn lines_in_data(bytes: &[u8]) -> Result<usize, HeaderProblem> {
    let count = bytes.split(|&b| b == b'\n').next().and_then(decimal);
    match count {
        Some(count) if count <= MAX_EXTENTS as u64 => Ok(1 + 2 * count as usize),
        _ => Err(HeaderProblem::Sparse),
    }
}

/// The decimal, newline-separated map in front of 1.0 data, all of whose lines are in `bytes`.
pub(super) fn parse_in_data(bytes: &[u8]) -> Result<Vec<Extent>, HeaderProblem> {
    let lines = lines_in_data(bytes)?;
    pairs(bytes.split(|&b| b == b'\n').take(lines).skip(1))
}

/// Checks that extents are in order, inside the file, and account for every stored byte.
pub(super) fn check(extents: &[Extent], stored: u64, size: u64) -> Result<(), HeaderProblem> {
    let (mut end, mut total) = (0u64, 0u64);
    for extent in extents {
        let next = extent.offset.checked_add(extent.length).ok_or(HeaderProblem::Sparse)?;
        if extent.offset < end || next > size {
            return Err(HeaderProblem::Sparse);
        }
        (end, total) = (next, total + extent.length);
    }
    if total == stored { Ok(()) } else { Err(HeaderProblem::Sparse) }
}
