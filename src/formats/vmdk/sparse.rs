//! An existing `monolithicSparse` disk, read and written in place.

use std::io;
use std::ops::Range;

use super::descriptor::Kind;
use super::directory::Directory;
use super::header::{FLAG_COMPRESSED, FLAG_REDUNDANT_TABLE, Header, TABLE_ENTRIES, ZERO_GRAIN};
use super::write::sector_number;
use super::{BadDisk, BlockSource, Info, ReadAt, SECTOR, WriteAt, read_exact_at};
use crate::formats::block::check_range;

/// A `monolithicSparse` disk, with its parent if it is a linked clone's.
pub struct SparseDisk<F> {
    file: F,
    header: Header,
    directory: Directory,
    info: Info,
    parent: Option<Box<dyn BlockSource>>,
}

impl<F: ReadAt> SparseDisk<F> {
    /// Opens a disk; holes read as zeros until it is given its parent.
    ///
    /// # Errors
    /// If this is not a `monolithicSparse` disk, or a damaged one.
    pub fn open(file: F) -> Result<Self, BadDisk> {
        let header = Header::read(&file)?;
        let descriptor = header.descriptor(&file)?;
        if header.flags & FLAG_COMPRESSED != 0 || descriptor.kind != Kind::MonolithicSparse {
            return Err(BadDisk::Unsupported(format!("{:?} as a disk to work on", descriptor.kind)));
        }
        let directory = Directory::read(&file, &header, header.directory)?;
        let info = descriptor.into_info(&header);
        Ok(Self { file, header, directory, info, parent: None })
    }

    /// Gives a child its parent. Whether its CID is the right one is the caller's to check, with
    /// [`Self::info`] and the parent's [`super::inspect`].
    pub fn with_parent(mut self, parent: Box<dyn BlockSource>) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Returns what the disk says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Returns the file.
    pub fn into_inner(self) -> F {
        self.file
    }

    /// Fills the buffer from this place of the disk.
    ///
    /// # Errors
    /// If the range is not all within the disk, or the file is damaged or cannot be read.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.info.capacity)?;
        for piece in pieces(offset, buffer.len(), self.header.grain()) {
            let part = &mut buffer[piece.buffer.clone()];
            match self.directory.entry(&self.file, piece.grain)? {
                0 => read_parent(self.parent.as_deref_mut(), offset + piece.buffer.start as u64, part)?,
                ZERO_GRAIN if self.header.has_zero_grains() => part.fill(0),
                sector => {
                    let place = u64::from(sector) * SECTOR + piece.within;
                    read_exact_at(&self.file, place, part, "a grain")?;
                }
            }
        }
        Ok(())
    }

    fn own_data_after(&mut self, offset: u64) -> Result<Option<Range<u64>>, BadDisk> {
        let (grain, capacity) = (self.header.grain(), self.info.capacity);
        let header = &self.header;
        let is_hole = |entry| header.is_hole(entry);
        let end = capacity.div_ceil(grain);
        let next = self.directory.next_grain(&self.file, offset / grain, end, is_hole)?;
        Ok(next.map(|(index, _)| (index * grain).max(offset)..((index + 1) * grain).min(capacity)))
    }
}

impl<F: ReadAt + WriteAt> SparseDisk<F> {
    /// Writes to this place of the disk, in place or into new grains at the file's end.
    ///
    /// A new grain is on the disk before a table names it. The CID stays as it is: like VMware, whoever
    /// changes a disk that has children breaks them.
    ///
    /// # Errors
    /// If the range is not all within the disk, or the file is damaged or cannot be written.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_range(offset, bytes.len(), self.info.capacity)?;
        for piece in pieces(offset, bytes.len(), self.header.grain()) {
            let part = &bytes[piece.buffer.clone()];
            match self.directory.entry(&self.file, piece.grain)? {
                0 => self.allocate(&piece, part, true)?,
                ZERO_GRAIN if self.header.has_zero_grains() => self.allocate(&piece, part, false)?,
                sector => {
                    self.file.put(u64::from(sector) * SECTOR + piece.within, part)?;
                }
            }
        }
        Ok(())
    }

    fn allocate(&mut self, piece: &Piece, part: &[u8], inherits: bool) -> io::Result<()> {
        let start = piece.grain * self.header.grain();
        let mut grain = vec![0; self.header.grain() as usize];
        if inherits {
            let inherited = self.header.grain().min(self.info.capacity - start) as usize;
            read_parent(self.parent.as_deref_mut(), start, &mut grain[..inherited])?;
        }
        grain[piece.within as usize..][..part.len()].copy_from_slice(part);
        let place =
            self.file.length()?.max(self.header.overhead.saturating_mul(SECTOR)).next_multiple_of(SECTOR);
        let entry = sector_number(place / SECTOR)?;
        self.file.put(place, &grain)?;
        self.write_entry(self.header.directory, piece.grain, entry)?;
        if self.header.flags & FLAG_REDUNDANT_TABLE != 0 {
            self.write_entry(self.header.redundant_directory, piece.grain, entry)?;
        }
        self.directory.set(piece.grain, entry);
        Ok(())
    }

    /// Writes an entry into its table, found through the directory at this sector.
    fn write_entry(&mut self, directory: u64, grain: u64, entry: u32) -> io::Result<()> {
        let mut table = [0; 4];
        let place = directory.saturating_mul(SECTOR).saturating_add(grain / TABLE_ENTRIES * 4);
        read_exact_at(&self.file, place, &mut table, "a grain directory")?;
        let table = u64::from(u32::from_le_bytes(table));
        if table == 0 {
            return Err(BadDisk::Unsupported("a grain directory without its tables".to_owned()).into());
        }
        self.file.put(table * SECTOR + grain % TABLE_ENTRIES * 4, &entry.to_le_bytes())
    }
}

impl<F: ReadAt> BlockSource for SparseDisk<F> {
    fn size(&self) -> u64 {
        self.info.capacity
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        SparseDisk::read_at(self, offset, buffer)
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let own = self.own_data_after(offset)?;
        let inherited = match &mut self.parent {
            Some(parent) => parent.data_after(offset)?,
            None => None,
        };
        Ok([own, inherited].into_iter().flatten().min_by_key(|range| range.start))
    }
}

/// Reads what a hole stands for: the parent's bytes as far as it reaches, else zeros.
fn read_parent(
    parent: Option<&mut (dyn BlockSource + 'static)>,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    buffer.fill(0);
    let Some(parent) = parent else { return Ok(()) };
    let reach = parent.size().saturating_sub(offset).min(buffer.len() as u64) as usize;
    if reach == 0 { Ok(()) } else { parent.read_at(offset, &mut buffer[..reach]) }
}

/// The part of a request that falls into one grain.
struct Piece {
    grain: u64,
    /// Where in the grain it begins.
    within: u64,
    buffer: Range<usize>,
}

fn pieces(offset: u64, length: usize, grain: u64) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = at % grain;
        let size = (length - done).min((grain - within) as usize);
        let piece = Piece { grain: at / grain, within, buffer: done..done + size };
        done += size;
        (size > 0).then_some(piece)
    })
}
