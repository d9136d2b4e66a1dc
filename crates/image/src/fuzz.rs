//! What the fuzzer calls: parsers of what others write, on bytes in memory.

use std::io::{self, Read, Write};

use loment_store::sha256;

use crate::archive::{Archive, DockerArchive};
use crate::manifest::{self, Document};
use crate::platform::Platform;
use crate::source::Source;
use crate::{inflate, schema1};

/// More than any input of the fuzzer is to become.
const MUCH: u64 = 64 << 20;

/// Reads any bytes as a manifest or index, for the fuzzer.
pub fn read_any_manifest(bytes: &[u8]) {
    let digest = sha256(bytes);
    match manifest::parse(bytes, "", &digest) {
        Ok((Document::Image(image), _)) => drop(manifest::check(&image, &digest)),
        Ok((Document::Index(index), _)) => drop(manifest::choose(&index, &Platform::host(), "x")),
        Err(_) => schema1::read_anything(bytes),
    }
}

/// Reads any bytes as a layer's blob, for the fuzzer.
pub fn read_any_blob(bytes: &[u8]) {
    let Ok((compression, bytes)) = inflate::peek(bytes) else { return };
    let plain = inflate::reader(io::BufReader::new(bytes), compression);
    // Whether it fails or not.
    let _ = io::copy(&mut plain.take(MUCH), &mut io::sink());
}

/// Reads any bytes as an archive of images, for the fuzzer.
pub fn read_any_archive(bytes: &[u8]) {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let Ok(memory) = rustix::fs::memfd_create("archive", flags) else { return };
    let mut file = std::fs::File::from(memory);
    if file.write_all(bytes).is_err() {
        return;
    }
    let Ok(archive) = Archive::indexed(file, "archive".to_owned()).and_then(DockerArchive::open) else {
        return;
    };
    for image in (0..archive.count().min(3)).filter_map(|position| archive.at(position)?.ok()) {
        let Ok(fetched) = image.manifest(None) else { continue };
        let parsed = manifest::parse(&fetched.bytes, &fetched.media_type, &sha256(&fetched.bytes));
        let Ok((Document::Image(manifest), _)) = parsed else { unreachable!("it was made here") };
        for layer in manifest.layers().iter().take(3) {
            // Whether it fails or not.
            let _ = image.blob(layer).map(|blob| io::copy(&mut blob.take(MUCH), &mut io::sink()));
        }
    }
}
