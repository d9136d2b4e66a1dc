//! One 512-byte header block.

use super::HeaderProblem;

/// The fields of one header block, before extended headers are applied.
pub(super) struct Block {
    pub(super) typeflag: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Only GNU's headers have a place for it, and most leave it empty.
    pub(super) atime: Option<i64>,
    pub(super) device: (u64, u64),
}

/// Parses one block; the caller has already recognised zero blocks.
pub(super) fn parse(bytes: &[u8; 512]) -> Result<Block, HeaderProblem> {
    let header = tar::Header::from_byte_slice(bytes);
    let old = header.as_old();
    let declared = number(&old.cksum).ok_or(HeaderProblem::Number("chksum"))?;
    let (unsigned, signed) = checksums(bytes);
    if declared != unsigned && declared != signed {
        return Err(HeaderProblem::Checksum);
    }
    let natural = |field: &[u8], name| {
        number(field).and_then(|n| u64::try_from(n).ok()).ok_or(HeaderProblem::Number(name))
    };
    let typeflag = old.linkflag[0];
    // Device fields exist in ustar and GNU headers only, and carry garbage in other types of some writers.
    let device = match (typeflag, header.as_ustar(), header.as_gnu()) {
        (b'3' | b'4', Some(h), _) => (natural(&h.dev_major, "devmajor")?, natural(&h.dev_minor, "devminor")?),
        (b'3' | b'4', _, Some(h)) => (natural(&h.dev_major, "devmajor")?, natural(&h.dev_minor, "devminor")?),
        _ => (0, 0),
    };
    let atime = header.as_gnu().map(|h| &h.atime).filter(|field| field[0] != 0);
    Ok(Block {
        typeflag,
        path: header.path_bytes().into_owned(),
        link: header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default(),
        mode: (natural(&old.mode, "mode")? & 0o7777) as u32,
        uid: natural(&old.uid, "uid")?,
        gid: natural(&old.gid, "gid")?,
        size: natural(&old.size, "size")?,
        mtime: number(&old.mtime).ok_or(HeaderProblem::Number("mtime"))?,
        atime: atime.and_then(|field| number(field)),
        device,
    })
}

/// Sum of all bytes with the checksum field read as spaces, as unsigned and (old Sun tar) signed bytes.
fn checksums(bytes: &[u8; 512]) -> (i64, i64) {
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (index, &byte) in bytes.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    (unsigned, signed)
}

/// A numeric field: octal text padded with spaces and NULs, or GNU base-256 (high bit of the first byte set,
/// two's complement big endian). Empty fields are zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let mut value: i64 = i64::from(*first & 0x7f) | if negative { !0x7f } else { 0 };
            for &byte in rest {
                value = value.checked_mul(256)?.checked_add(i64::from(byte))?;
            }
            Some(value)
        }
        _ => {
            let text = field.split(|&b| b == 0).next().unwrap_or_default().trim_ascii();
            text.iter().try_fold(0i64, |value, &digit| match digit {
                b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"0x12\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 1, 0, 0, 0, 0]), Some(1 << 32));
        assert_eq!(number(&[0xff; 8]), Some(-1));
        assert_eq!(
            number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            Some(-2)
        );
        assert_eq!(number(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
