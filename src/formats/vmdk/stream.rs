//! Reading `streamOptimized` disks: compressed grains one after another, with the directory at the end.

use std::io::{self, Read, Seek};
use std::ops::Range;

use flate2::read::ZlibDecoder;

use super::header::{DIRECTORY_AT_END, Directory, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_ZERO_GRAINS, Header};
use super::{BadDisk, BlockSource, SECTOR, length, read_exact_at};
use crate::formats::block::check_range;

/// The footer is the last sector but one; an end-of-stream marker follows it.
const FOOTER_FROM_END: u64 = 2 * SECTOR;
/// Before a grain's data: its first sector (8 bytes), then the data's size (4 bytes).
const MARKER: usize = 12;

/// A `streamOptimized` disk.
pub struct StreamDisk<F> {
    file: F,
    header: Header,
    directory: Directory,
    /// The grain that was read last.
    cached: Option<(u64, Vec<u8>)>,
}

impl<F: Read + Seek> StreamDisk<F> {
    /// Opens a disk.
    ///
    /// # Errors
    /// If this is not a `streamOptimized` disk, or a damaged one.
    pub fn open(mut file: F) -> Result<Self, BadDisk> {
        let mut header = Header::read(&mut file)?;
        if header.flags & FLAG_COMPRESSED == 0 {
            return Err(BadDisk::NotADisk("it is not a stream-optimized VMDK"));
        }
        if header.flags & FLAG_MARKERS == 0 {
            return Err(BadDisk::Unsupported("compressed grains without markers".to_owned()));
        }
        if header.directory == DIRECTORY_AT_END {
            let end = length(&mut file)?.checked_sub(FOOTER_FROM_END);
            let end = end.ok_or(BadDisk::Truncated("the footer"))?;
            let footer = Header::read_at(&mut file, end).map_err(|_| BadDisk::Truncated("the footer"))?;
            header.directory = footer.directory;
        }
        let directory = Directory::read(&mut file, &header, header.directory)?;
        Ok(Self { file, header, directory, cached: None })
    }

    fn is_hole(&self) -> impl Fn(u32) -> bool + use<F> {
        let zero_grains = self.header.flags & FLAG_ZERO_GRAINS != 0;
        move |entry| entry == 0 || entry == 1 && zero_grains
    }

    /// Decompresses a grain into the cache.
    fn load(&mut self, grain: u64, sector: u32) -> Result<(), BadDisk> {
        if self.cached.as_ref().is_some_and(|(cached, _)| *cached == grain) {
            return Ok(());
        }
        let place = u64::from(sector) * SECTOR;
        let mut marker = [0; MARKER];
        read_exact_at(&mut self.file, place, &mut marker, "a grain's marker")?;
        let first_sector = u64::from_le_bytes(marker[..8].try_into().expect("eight bytes"));
        let size = u32::from_le_bytes(marker[8..].try_into().expect("four bytes"));
        let grain_size = self.header.grain();
        // Deflate adds little to what it cannot compress; anything beyond that is damage.
        if first_sector != grain * self.header.grain_sectors || u64::from(size) > 2 * grain_size {
            return Err(BadDisk::corrupt(format!("the marker of grain {grain}")));
        }
        let mut compressed = vec![0; size as usize];
        read_exact_at(&mut self.file, place + MARKER as u64, &mut compressed, "a grain")?;
        let mut content = Vec::with_capacity(grain_size as usize);
        let inflated = ZlibDecoder::new(compressed.as_slice()).take(grain_size).read_to_end(&mut content);
        // The last grain may be cut where the disk ends.
        let expected = grain_size.min(self.header.capacity() - grain * grain_size);
        if inflated.is_err() || (content.len() as u64) < expected {
            return Err(BadDisk::corrupt(format!("the data of grain {grain}")));
        }
        content.resize(grain_size as usize, 0);
        self.cached = Some((grain, content));
        Ok(())
    }
}

impl<F: Read + Seek + Send> BlockSource for StreamDisk<F> {
    fn size(&self) -> u64 {
        self.header.capacity()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.size())?;
        let size = self.header.grain();
        let is_hole = self.is_hole();
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (grain, within) = (at / size, (at % size) as usize);
            let part = (buffer.len() - done).min(size as usize - within);
            let part = &mut buffer[done..done + part];
            let entry = self.directory.entry(&mut self.file, grain)?;
            if is_hole(entry) {
                part.fill(0);
            } else {
                self.load(grain, entry)?;
                let (_, content) = self.cached.as_ref().expect("the grain was just loaded");
                part.copy_from_slice(&content[within..within + part.len()]);
            }
            done += part.len();
        }
        Ok(())
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let (grain, capacity) = (self.header.grain(), self.header.capacity());
        let is_hole = self.is_hole();
        let next =
            self.directory.next_grain(&mut self.file, offset / grain, capacity.div_ceil(grain), is_hole)?;
        Ok(next.map(|index| (index * grain).max(offset)..((index + 1) * grain).min(capacity)))
    }
}
