//! Combining packs: every fetch that brings something adds one, and looking an object up asks each
//! of them.
//!
//! The many small packs become one; a large one, as the first clone makes, stays. Nothing is asked
//! of the remote. Entries are copied as they lie there, each object once. A chain of deltas that
//! grew too long is broken by an object in full.
//!
//! Reading and writing happen beside the mirror's work: packs never change. Only the swap at the
//! end needs the mirror for itself. Killed at any moment, the start removes what is half.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use gix::ObjectId;
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::{data, index};

use crate::error::GitError;

/// A new pack that holds what several old ones hold.
pub(super) struct Combined {
    /// Pack and index, still under other names.
    made: [PathBuf; 2],
    names: [PathBuf; 2],
    /// Packs that are not needed any more.
    old: Vec<PathBuf>,
}

/// Number of packs in a folder of packs.
pub(super) fn count(folder: &Path) -> usize {
    packs(folder).len()
}

/// Combines the small packs of a folder, if there are several. `repository` is the one that the
/// folder belongs to.
pub(super) fn combine(
    repository: &gix::Repository,
    folder: &Path,
) -> Result<Option<Combined>, GitError> {
    let sources = chosen(folder)?;
    if sources.len() < 2 {
        return Ok(None);
    }
    let objects: HashSet<ObjectId> =
        sources.iter().flat_map(|source| source.entries.iter().map(|(_, id)| *id)).collect();
    let [pack, index] = ["combined-pack.tmp", "combined-idx.tmp"].map(|name| folder.join(name));
    let failed = |error: std::io::Error| GitError::storage("combining packs", &error);
    let file = fs::File::create(&pack).map_err(failed)?;
    let mut writer = Writer::new(BufWriter::new(file), objects.len()).map_err(failed)?;
    drop(objects);
    for source in &sources {
        for at in 0..source.entries.len() {
            source.copy(at, repository, &mut writer)?;
        }
    }
    let (checksum, placed) = writer.finish().map_err(failed)?;
    write_index(&index, placed, checksum).map_err(failed)?;
    let names = ["pack", "idx"].map(|kind| folder.join(format!("pack-{checksum}.{kind}")));
    let old = sources.into_iter().map(|source| source.path).filter(|path| *path != names[0]);
    Ok(Some(Combined { made: [pack, index], old: old.collect(), names }))
}

impl Combined {
    /// Puts the new pack in the place of the old ones. Nobody may be reading in the mirror.
    pub fn swap(self) -> Result<(), GitError> {
        let failed = |error: std::io::Error| GitError::storage("swapping packs", &error);
        for (made, name) in self.made.iter().zip(&self.names) {
            fs::rename(made, name).map_err(failed)?;
        }
        for pack in self.old {
            for file in [pack.with_extension("idx"), pack] {
                match fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Pack files that have an index, with their size, smallest first.
fn packs(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut packs: Vec<(u64, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .filter(|path| path.with_extension("idx").exists())
        .filter_map(|path| Some((fs::metadata(&path).ok()?.len(), path)))
        .collect();
    packs.sort();
    packs
}

/// The packs to combine, oldest first: no pack that is larger than all smaller ones together, so
/// that a byte is copied a few times in its life and not each time.
fn chosen(folder: &Path) -> Result<Vec<Source>, GitError> {
    let mut chosen: Vec<(std::time::SystemTime, Source)> = Vec::new();
    let (mut bytes, mut objects) = (0, 0);
    for (size, path) in packs(folder) {
        if size > LARGE.max(bytes) {
            break;
        }
        let source = Source::open(&path)?;
        objects += source.entries.len();
        if objects > MOST_OBJECTS {
            break;
        }
        bytes += size;
        let time = fs::metadata(&path).and_then(|metadata| metadata.modified());
        chosen.push((time.unwrap_or(std::time::UNIX_EPOCH), source));
    }
    chosen.sort_by_key(|(time, _)| *time);
    Ok(chosen.into_iter().map(|(_, source)| source).collect())
}

/// One pack that is read.
struct Source {
    path: PathBuf,
    pack: data::File,
    /// Offset and id, by offset.
    entries: Vec<(u64, ObjectId)>,
    /// Checksums of the entries, in the order of `entries`.
    checksums: Vec<Option<u32>>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, GitError> {
        let hash = gix::hash::Kind::Sha1;
        let index = index::File::at(path.with_extension("idx"), hash).map_err(GitError::damaged)?;
        let pack = data::File::at(path, hash).map_err(GitError::damaged)?;
        let mut all: Vec<_> =
            index.iter().map(|entry| (entry.pack_offset, entry.oid, entry.crc32)).collect();
        all.sort_unstable();
        let checksums = all.iter().map(|(_, _, checksum)| *checksum).collect();
        let entries = all.into_iter().map(|(offset, id, _)| (offset, id)).collect();
        Ok(Self { path: path.to_owned(), pack, entries, checksums })
    }

    /// Writes an entry, unless its object is there already.
    fn copy<W: Write>(
        &self,
        at: usize,
        repository: &gix::Repository,
        writer: &mut Writer<W>,
    ) -> Result<(), GitError> {
        let failed = |error: std::io::Error| GitError::storage("combining packs", &error);
        let damaged = || GitError::damaged("a pack is cut short");
        let (offset, id) = *self.entries.get(at).ok_or_else(damaged)?;
        if writer.placed.contains_key(&id) {
            return Ok(());
        }
        let pack_end = u64::try_from(self.pack.pack_end()).unwrap_or(u64::MAX);
        let end = self.entries.get(at + 1).map_or(pack_end, |(offset, _)| *offset);
        let bytes = self.pack.entry_slice(offset..end).ok_or_else(damaged)?;
        let mut checksum = Crc::new();
        checksum.update(bytes);
        if self.checksums.get(at).copied().flatten().is_some_and(|known| known != checksum.sum()) {
            return Err(GitError::damaged("an entry of a pack has another checksum"));
        }
        let entry = data::Entry::from_bytes(bytes, offset, gix::hash::Kind::Sha1)
            .map_err(GitError::damaged)?;
        let base = match entry.header {
            Header::RefDelta { base_id } => Some(base_id),
            Header::OfsDelta { base_distance } => {
                let base = offset.checked_sub(base_distance).ok_or_else(damaged)?;
                let place = self.entries.binary_search_by_key(&base, |(offset, _)| *offset);
                let (_, id) =
                    self.entries.get(place.map_err(|_| damaged())?).ok_or_else(damaged)?;
                Some(*id)
            }
            _ => None,
        };
        let header_length = usize::try_from(entry.data_offset - offset).map_err(|_| damaged())?;
        let compressed = bytes.get(header_length..).ok_or_else(damaged)?;
        let size = entry.decompressed_size;
        match base.map(|base| writer.placed.get(&base).copied()) {
            None => writer.add(id, entry.header, size, compressed, 0).map_err(failed),
            Some(Some(base)) if base.depth < MAX_DEPTH => {
                let header = Header::OfsDelta { base_distance: writer.at - base.offset };
                writer.add(id, header, size, compressed, base.depth + 1).map_err(failed)
            }
            // The base comes later, or the chain is long.
            Some(_) => {
                let object = repository.find_object(id).map_err(GitError::damaged)?;
                let header = match object.kind {
                    gix::objs::Kind::Commit => Header::Commit,
                    gix::objs::Kind::Tree => Header::Tree,
                    gix::objs::Kind::Blob => Header::Blob,
                    gix::objs::Kind::Tag => Header::Tag,
                };
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&object.data).map_err(failed)?;
                let compressed = encoder.finish().map_err(failed)?;
                let size = u64::try_from(object.data.len()).unwrap_or(u64::MAX);
                writer.add(id, header, size, &compressed, 0).map_err(failed)
            }
        }
    }
}

/// Where an object lies in the new pack.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    checksum: u32,
    /// Deltas between the object and one that is stored in full.
    depth: u32,
}

/// The new pack while it is written.
struct Writer<W> {
    out: W,
    hasher: gix::hash::Hasher,
    at: u64,
    placed: HashMap<ObjectId, Place>,
}

impl<W: Write> Writer<W> {
    fn new(out: W, objects: usize) -> std::io::Result<Self> {
        let hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        let mut writer = Self { out, hasher, at: 0, placed: HashMap::with_capacity(objects) };
        writer.write(b"PACK\0\0\0\x02")?;
        writer.write(&u32::try_from(objects).unwrap_or(u32::MAX).to_be_bytes())?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.at += u64::try_from(bytes.len()).unwrap_or_default();
        self.out.write_all(bytes)
    }

    fn add(
        &mut self,
        id: ObjectId,
        header: Header,
        size: u64,
        compressed: &[u8],
        depth: u32,
    ) -> std::io::Result<()> {
        let offset = self.at;
        let mut head = Vec::with_capacity(32);
        header.write_to(size, &mut head)?;
        let mut checksum = Crc::new();
        checksum.update(&head);
        checksum.update(compressed);
        self.write(&head)?;
        self.write(compressed)?;
        self.placed.insert(id, Place { offset, checksum: checksum.sum(), depth });
        Ok(())
    }

    /// Ends the pack; returns its checksum and what is where.
    fn finish(mut self) -> std::io::Result<(ObjectId, HashMap<ObjectId, Place>)> {
        let checksum = self.hasher.try_finalize().map_err(std::io::Error::other)?;
        self.out.write_all(checksum.as_slice())?;
        self.out.flush()?;
        Ok((checksum, self.placed))
    }
}

/// Writes the index of a pack. Source: gitformat-pack(5), version 2.
fn write_index(
    path: &Path,
    placed: HashMap<ObjectId, Place>,
    pack: ObjectId,
) -> std::io::Result<()> {
    let mut objects: Vec<(ObjectId, Place)> = placed.into_iter().collect();
    objects.sort_unstable_by_key(|(id, _)| *id);
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    let mut rest = objects.as_slice();
    let mut up_to: u32 = 0;
    for first in 0..=u8::MAX {
        let here = rest.partition_point(|(id, _)| id.first_byte() == first);
        rest = rest.get(here..).unwrap_or_default();
        up_to += u32::try_from(here).unwrap_or_default();
        out.extend_from_slice(&up_to.to_be_bytes());
    }
    objects.iter().for_each(|(id, _)| out.extend_from_slice(id.as_slice()));
    objects.iter().for_each(|(_, place)| out.extend_from_slice(&place.checksum.to_be_bytes()));
    for (_, place) in &objects {
        let offset = u32::try_from(place.offset).ok().filter(|offset| *offset < 1 << 31);
        let offset = offset.ok_or_else(|| std::io::Error::other("the packs are too large"))?;
        out.extend_from_slice(&offset.to_be_bytes());
    }
    out.extend_from_slice(pack.as_slice());
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&out);
    let checksum = hasher.try_finalize().map_err(std::io::Error::other)?;
    out.extend_from_slice(checksum.as_slice());
    fs::write(path, out)
}

/// A pack of this size is large, in bytes: it stays, unless the smaller ones outgrow it.
const LARGE: u64 = 16 * 1024 * 1024;
/// Objects that are combined at once: their places take 15 MB of memory.
const MOST_OBJECTS: usize = 200_000;
/// As git's own default (`pack.depth`).
const MAX_DEPTH: u32 = 50;
