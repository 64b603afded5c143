//! Disk contents without a file format: how image files are read and written, and what every image offers.

use std::io;
use std::ops::Range;

/// Bytes of a disk sector.
pub const SECTOR: u64 = 512;

/// A file that is read at any place, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// Returns the file's length in bytes.
    ///
    /// # Errors
    /// If it cannot be told.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from this place of the file.
    ///
    /// # Errors
    /// With [`io::ErrorKind::UnexpectedEof`] if the file ends before, or whatever reading meets.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the first range at or after this place that is no hole of the file; none if there is none.
    ///
    /// # Errors
    /// If it cannot be told.
    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.length()?;
        Ok((offset < end).then_some(offset..end))
    }
}

/// A file that is written at any place.
pub trait WriteAt {
    /// Writes at this place; what lies between the file's end and the place becomes zeros.
    ///
    /// # Errors
    /// Whatever writing meets.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        match rest.and_then(|rest| rest.get(..buffer.len())) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}

impl WriteAt for Vec<u8> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if self.len() < end {
            self.resize(end, 0);
        }
        self[start..end].copy_from_slice(bytes);
        Ok(())
    }
}

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
    /// Not of a kind that we know; the text says what it is instead, as far as that is known.
    #[error("not a disk image that can be read: {0}")]
    NotADisk(&'static str),
    #[error("the image is encrypted")]
    Encrypted,
    /// It holds only what differs from another file.
    #[error("the image holds only what differs from its backing file {0:?}")]
    Backed(String),
    #[error("the image keeps its data in another file")]
    ExternalData,
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

/// Fills the buffer from this place of a file; what is missing is called `what`.
pub(super) fn read_exact_at(
    file: &(impl ReadAt + ?Sized),
    offset: u64,
    buffer: &mut [u8],
    what: &'static str,
) -> Result<(), BadDisk> {
    file.fill(offset, buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BadDisk::Truncated(what),
        _ => BadDisk::Io(error),
    })
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
