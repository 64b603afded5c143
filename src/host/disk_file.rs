//! Files as the disk formats read and write them: at any place, by many threads, holes known as holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{HostError, Result, copy, files};
use crate::formats::block::{ReadAt, WriteAt};
use crate::formats::vmdk::{self, Info};

/// Reads what a VMDK says of itself.
pub fn inspect(disk: &Path) -> Result<Info> {
    let bad = |reason: String| HostError::Content { path: disk.to_owned(), reason };
    vmdk::inspect(&files::open(disk)?).map_err(|error| bad(error.to_string()))
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Beyond what the system can address there is nothing.
        let end = offset.checked_add(buffer.len() as u64).and_then(|end| i64::try_from(end).ok());
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_exact_at(buffer, offset)
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(copy::next_data(self, offset)?.map(|(start, end)| start..end))
    }
}

impl WriteAt for File {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
}
