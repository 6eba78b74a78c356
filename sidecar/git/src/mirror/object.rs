//! New objects in memory, and the pack that carries them.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gix::ObjectId;
use gix::objs::Kind;

use crate::error::GitError;

/// An object that exists nowhere yet.
#[derive(Clone, Debug)]
pub(super) struct NewObject {
    pub id: ObjectId,
    kind: Kind,
    data: Vec<u8>,
}

impl NewObject {
    pub fn new(kind: Kind, data: Vec<u8>) -> Result<Self, GitError> {
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &data)
            .map_err(GitError::damaged)?;
        Ok(Self { id, kind, data })
    }
}

/// A version 2 pack of whole objects.
pub(super) fn pack(objects: &[NewObject]) -> Result<Vec<u8>, GitError> {
    let failed = |error: std::io::Error| GitError::storage("writing a pack", &error);
    let mut out = b"PACK\0\0\0\x02".to_vec();
    out.extend_from_slice(&u32::try_from(objects.len()).unwrap_or(u32::MAX).to_be_bytes());
    for object in objects {
        write_header(&mut out, object.kind, object.data.len());
        let mut encoder = ZlibEncoder::new(&mut out, Compression::default());
        encoder.write_all(&object.data).map_err(failed)?;
        encoder.finish().map_err(failed)?;
    }
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&out);
    let trailer = hasher.try_finalize().map_err(GitError::damaged)?;
    out.extend_from_slice(trailer.as_slice());
    Ok(out)
}

/// Kind and size: four bits of size in the first byte, seven in each of the next, least first.
fn write_header(out: &mut Vec<u8>, kind: Kind, size: usize) {
    let kind = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let low = |size: usize, mask: usize| u8::try_from(size & mask).unwrap_or_default();
    let mut byte = (kind << 4) | low(size, 0x0f);
    let mut rest = size >> 4;
    while rest != 0 {
        out.push(byte | 0x80);
        byte = low(rest, 0x7f);
        rest >>= 7;
    }
    out.push(byte);
}
