//! Where the grains of a sparse VMDK are, compressed or not.

use super::directory::Directory;
use super::header::{DIRECTORY_AT_END, FLAG_COMPRESSED, FLAG_MARKERS, Header};
use super::{BadDisk, ReadAt, SECTOR};
use crate::formats::image::{Map, Place, Stretch};
use crate::formats::unpack::Packed;

/// The footer is the last sector but one; an end-of-stream marker follows it.
const FOOTER_FROM_END: u64 = 2 * SECTOR;

/// The map of a `monolithicSparse` or `streamOptimized` disk without a parent.
pub(in crate::formats) struct GrainMap {
    header: Header,
    directory: Directory,
}

impl GrainMap {
    /// Opens a disk.
    ///
    /// # Errors
    /// If it is damaged.
    pub(in crate::formats) fn open(file: &dyn ReadAt) -> Result<Self, BadDisk> {
        let mut header = Header::read(file)?;
        if header.flags & FLAG_COMPRESSED != 0 && header.flags & FLAG_MARKERS == 0 {
            return Err(BadDisk::Unsupported("compressed grains without markers".to_owned()));
        }
        if header.directory == DIRECTORY_AT_END {
            let end = file.length()?.checked_sub(FOOTER_FROM_END);
            let end = end.ok_or(BadDisk::Truncated("the footer"))?;
            let footer = Header::read_at(file, end).map_err(|_| BadDisk::Truncated("the footer"))?;
            header.directory = footer.directory;
        }
        let directory = Directory::read(file, &header, header.directory)?;
        Ok(Self { header, directory })
    }
}

impl Map for GrainMap {
    fn size(&self) -> u64 {
        self.header.capacity()
    }

    fn unit(&self) -> u64 {
        self.header.grain()
    }

    fn stretch_after(&mut self, file: &dyn ReadAt, offset: u64) -> Result<Option<Stretch>, BadDisk> {
        let (header, length) = (&self.header, self.header.grain());
        let end = header.capacity().div_ceil(length);
        let next = self.directory.next_grain(file, offset / length, end, |entry| header.is_hole(entry))?;
        let Some((grain, entry)) = next else { return Ok(None) };
        let place = u64::from(entry) * SECTOR;
        let place = match header.flags & FLAG_COMPRESSED {
            0 => Place::Plain(place),
            _ => Place::Packed(Packed::Grain { offset: place }),
        };
        Ok(Some(Stretch { start: grain * length, length, place }))
    }
}
