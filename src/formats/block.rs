//! Disk contents without a file format: what every image reader offers and every image writer takes.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Bytes of a disk sector.
pub const SECTOR: u64 = 512;

/// A disk's contents, read at any place.
pub trait BlockSource: Send {
    /// Returns the disk's size in bytes.
    fn size(&self) -> u64;

    /// Fills the buffer from this place; holes read as zeros.
    ///
    /// # Errors
    /// If the range is not all within the disk, or the image is damaged there ([`BadDisk`] inside).
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the next range at or after this place that may hold other bytes than zeros; none if only
    /// holes follow.
    ///
    /// # Errors
    /// If the image is damaged.
    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>>;
}

/// Why a disk image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadDisk {
    #[error("read the image: {0}")]
    Io(#[from] io::Error),
    /// Neither qcow2, nor VMDK, nor a raw disk with a partition table.
    #[error("not a disk image: {0}")]
    NotADisk(&'static str),
    /// A feature that we do not read.
    #[error("the image uses {0}, which is not supported")]
    Unsupported(String),
    #[error("the image ends too early: {0}")]
    Truncated(&'static str),
    #[error("the image is corrupt: {0}")]
    Corrupt(String),
}

impl BadDisk {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<BadDisk> for io::Error {
    fn from(bad: BadDisk) -> Self {
        match bad {
            BadDisk::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Says that a range is not all within a disk.
pub(super) fn check_range(offset: u64, length: usize, size: u64) -> io::Result<()> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a place beyond the end of the disk")),
    }
}

/// Reads exactly at this place of a file; what is missing is called `what`.
pub(super) fn read_exact_at(
    file: &mut (impl Read + Seek),
    offset: u64,
    buffer: &mut [u8],
    what: &'static str,
) -> Result<(), BadDisk> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BadDisk::Truncated(what),
        _ => BadDisk::Io(error),
    })
}

/// Returns a file's length.
pub(super) fn length(file: &mut impl Seek) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// A raw image: the disk's bytes as they are. The extent of a flat VMDK is one.
#[derive(Debug)]
pub struct RawDisk<F> {
    file: F,
    size: u64,
}

impl<F: Read + Seek> RawDisk<F> {
    /// Takes a file as a disk of the file's length.
    ///
    /// # Errors
    /// If the length cannot be told.
    pub fn open(mut file: F) -> io::Result<Self> {
        let size = length(&mut file)?;
        Ok(Self { file, size })
    }
}

impl<F: Read + Seek + Send> BlockSource for RawDisk<F> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.size)?;
        Ok(read_exact_at(&mut self.file, offset, buffer, "the raw disk")?)
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.size).then_some(offset..self.size))
    }
}

/// A disk of nothing but zeros.
#[derive(Clone, Copy, Debug)]
pub struct EmptyDisk {
    pub size: u64,
}

impl BlockSource for EmptyDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.size)?;
        buffer.fill(0);
        Ok(())
    }

    fn data_after(&mut self, _offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(None)
    }
}
