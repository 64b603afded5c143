//! A qcow2 image's two levels of tables: where each cluster of the disk is.

use super::header::{Compression, Header};
use crate::formats::block::{BadDisk, ReadAt, SECTOR, read_exact_at};
use crate::formats::image::{Map, Place, Stretch};
use crate::formats::unpack::Packed;

/// Bits 9 to 55 of a table entry: a place in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// In version 3: the cluster is zeros, whatever its place holds.
const ZERO: u64 = 1;
/// Entries of a table that are read at once.
const PAGE: u64 = 4096;

/// The map of an image that can be read.
pub(in crate::formats) struct Qcow2Map {
    header: Header,
    file_length: u64,
    level_1: Page,
    level_2: Page,
}

/// The part of a table that was read last.
#[derive(Default)]
struct Page {
    /// Where in the file it begins.
    offset: u64,
    entries: Vec<u64>,
}

impl Qcow2Map {
    /// Opens an image.
    ///
    /// # Errors
    /// If it is not a qcow2 image, damaged, or needs what we do not read.
    pub(in crate::formats) fn open(file: &dyn ReadAt) -> Result<Self, BadDisk> {
        let header = Header::read(file)?;
        if let Some(obstacle) = header.obstacles().into_iter().next() {
            return Err(obstacle);
        }
        let file_length = file.length()?;
        let end = header.level_1_offset.checked_add(header.level_1_needed() * 8);
        if end.is_none_or(|end| end > file_length) {
            return Err(BadDisk::Truncated("its first table"));
        }
        Ok(Self { header, file_length, level_1: Page::default(), level_2: Page::default() })
    }

    /// Returns the place of the second-level table with this number; none if all its clusters are holes.
    fn table(&mut self, file: &dyn ReadAt, number: u64) -> Result<Option<u64>, BadDisk> {
        let (table, entries) = (self.header.level_1_offset, self.header.level_1_needed());
        match self.level_1.entry(file, table, number, entries)? & OFFSET {
            0 => Ok(None),
            offset if offset.is_multiple_of(self.header.cluster()) => Ok(Some(offset)),
            _ => Err(BadDisk::corrupt(format!("the place of table {number}"))),
        }
    }

    /// Returns the place that a second-level entry means; none for a hole.
    fn place(&self, entry: u64, cluster: u64) -> Result<Option<Place>, BadDisk> {
        if entry & COMPRESSED != 0 {
            let offset_bits = 62 - (self.header.cluster_bits - 8);
            let offset = entry & ((1 << offset_bits) - 1);
            let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
            // The last sector may be cut by the file's end.
            let room = (sectors * SECTOR - offset % SECTOR).min(self.file_length.saturating_sub(offset));
            return Ok(Some(Place::Packed(match self.header.compression {
                Compression::Zstd => Packed::Zstd { offset, room },
                _ => Packed::Deflate { offset, room },
            })));
        }
        if entry & OFFSET == 0 || (self.header.version >= 3 && entry & ZERO != 0) {
            return Ok(None);
        }
        match entry & OFFSET {
            offset if offset.is_multiple_of(self.header.cluster()) => Ok(Some(Place::Plain(offset))),
            _ => Err(BadDisk::corrupt(format!("the place of cluster {cluster}"))),
        }
    }
}

impl Map for Qcow2Map {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn unit(&self) -> u64 {
        self.header.cluster()
    }

    fn stretch_after(&mut self, file: &dyn ReadAt, offset: u64) -> Result<Option<Stretch>, BadDisk> {
        let (size, length) = (self.header.size, self.header.cluster());
        let entries = length / 8;
        let mut cluster = offset / length;
        while cluster * length < size {
            let number = cluster / entries;
            let Some(table) = self.table(file, number)? else {
                cluster = (number + 1) * entries;
                continue;
            };
            let entry = self.level_2.entry(file, table, cluster % entries, entries)?;
            if let Some(place) = self.place(entry, cluster)? {
                return Ok(Some(Stretch { start: cluster * length, length, place }));
            }
            cluster += 1;
        }
        Ok(None)
    }
}

impl Page {
    /// Returns an entry of the table at this place, which has so many of them.
    fn entry(&mut self, file: &dyn ReadAt, table: u64, index: u64, entries: u64) -> Result<u64, BadDisk> {
        let first = index / PAGE * PAGE;
        let offset = table.saturating_add(first * 8);
        if self.entries.is_empty() || self.offset != offset {
            let mut bytes = vec![0; (entries - first).min(PAGE) as usize * 8];
            self.entries.clear();
            read_exact_at(file, offset, &mut bytes, "a table")?;
            self.offset = offset;
            let numbers = bytes.chunks_exact(8);
            self.entries
                .extend(numbers.map(|entry| u64::from_be_bytes(entry.try_into().expect("eight bytes"))));
        }
        Ok(self.entries[(index - first) as usize])
    }
}
