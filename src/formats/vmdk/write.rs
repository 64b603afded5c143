//! Writing `monolithicSparse` disks, from the first grain to the last.

use std::io;
use std::ops::Range;

use super::descriptor::Descriptor;
use super::header::{
    DESCRIPTOR_SECTOR, DESCRIPTOR_SECTORS, GRAIN_SECTORS, Header, MOST_SECTORS, TABLE_ENTRIES, TABLE_SECTORS,
};
use super::{BlockSource, GRAIN, SECTOR, WriteAt};

/// Comparing with this is much faster than looking at each byte.
static ZEROS: [u8; GRAIN as usize] = [0; GRAIN as usize];
/// How much of a source [`write_sparse`] reads at once.
const CHUNK: u64 = 16 * GRAIN;

type Table = Box<[u32; TABLE_ENTRIES as usize]>;

/// A disk that is being written. Its header comes last, so that one whose writing was cut off is not taken for a disk.
pub struct SparseWriter<W> {
    out: W,
    header: Header,
    /// Where the next grain goes.
    next_sector: u64,
    /// The table that grains are being entered in, with its number.
    table: Option<(u64, Table)>,
}

/// Returns the capacity of a disk that holds so many bytes: whole grains.
///
/// # Errors
/// If there is no such VMDK: of 0 bytes, or of more than 2 TiB.
pub fn capacity_for(bytes: u64) -> io::Result<u64> {
    let sectors = bytes.div_ceil(GRAIN).checked_mul(GRAIN_SECTORS);
    match sectors.filter(|sectors| (1..=MOST_SECTORS).contains(sectors)) {
        Some(sectors) => Ok(sectors * SECTOR),
        None => {
            let message = format!("a VMDK cannot have a capacity of {bytes} bytes");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// Returns the parts of a buffer that are worth writing: whole grains with something else than zeros in them.
pub fn data_runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, grain) in bytes.chunks(ZEROS.len()).enumerate() {
        if grain == &ZEROS[..grain.len()] {
            continue;
        }
        let start = number * ZEROS.len();
        match runs.last_mut().filter(|last| last.end == start) {
            Some(last) => last.end += grain.len(),
            None => runs.push(start..start + grain.len()),
        }
    }
    runs
}

impl<W: WriteAt> SparseWriter<W> {
    /// Begins a disk of this capacity in an empty file.
    ///
    /// # Errors
    /// If there is no VMDK of that capacity, or the file cannot be written.
    pub fn new(mut out: W, capacity: u64) -> io::Result<Self> {
        let header = Header::sparse(capacity_for(capacity)? / SECTOR);
        // An empty disk ends where its first grain would begin.
        out.put(header.overhead * SECTOR - 1, &[0])?;
        Ok(Self { out, next_sector: header.overhead, header, table: None })
    }

    /// Writes whole grains to this place of the disk, which is behind all that was written before.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If the place or the length is not a multiple of a grain.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(GRAIN) && bytes.len().is_multiple_of(ZEROS.len()), "whole grains");
        self.out.put(self.next_sector * SECTOR, bytes)?;
        let first = offset / GRAIN;
        for grain in first..first + bytes.len() as u64 / GRAIN {
            let entry = sector_number(self.next_sector)?;
            self.table_of(grain)?[(grain % TABLE_ENTRIES) as usize] = entry;
            self.next_sector += GRAIN_SECTORS;
        }
        Ok(())
    }

    /// Returns the table for a grain, after writing the one before it.
    fn table_of(&mut self, grain: u64) -> io::Result<&mut Table> {
        let number = grain / TABLE_ENTRIES;
        if self.table.as_ref().is_some_and(|(current, _)| *current != number) {
            self.write_table()?;
        }
        let (_, table) = self.table.get_or_insert_with(|| (number, Box::new([0; TABLE_ENTRIES as usize])));
        Ok(table)
    }

    /// Writes the current table. Tables without a grain stay holes of the file, and so zero.
    fn write_table(&mut self) -> io::Result<()> {
        let Some((number, entries)) = self.table.take() else { return Ok(()) };
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        for directory in [self.header.redundant_directory, self.header.directory] {
            self.out.put((self.header.first_table(directory) + number * TABLE_SECTORS) * SECTOR, &bytes)?;
        }
        Ok(())
    }

    /// Writes the directories, the descriptor and last the header, and returns the file. `name` is the file's, which
    /// the descriptor repeats; `parent` is the parent's CID and its path, absolute or relative to this disk.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self, name: &str, cid: u32, parent: Option<(u32, &str)>) -> io::Result<W> {
        self.write_table()?;
        for directory in [self.header.redundant_directory, self.header.directory] {
            let first_table = self.header.first_table(directory);
            let mut bytes = Vec::new();
            for table in 0..self.header.tables() {
                bytes.extend(sector_number(first_table + table * TABLE_SECTORS)?.to_le_bytes());
            }
            self.out.put(directory * SECTOR, &bytes)?;
        }
        let mut text =
            Descriptor::sparse(self.header.capacity_sectors, name, cid, parent).render().into_bytes();
        if text.len() as u64 > DESCRIPTOR_SECTORS * SECTOR {
            let message = "a name is too long for a descriptor";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        text.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
        self.out.put(DESCRIPTOR_SECTOR * SECTOR, &text)?;
        self.out.put(0, &self.header.render())?;
        Ok(self.out)
    }
}

/// Writes a disk of this capacity (rounded up to 64 KiB) that begins with the source's content. Holes and grains of
/// zeros take no room. `name` is the file's, which the descriptor repeats.
///
/// # Errors
/// If the source does not fit or cannot be read, or `out`, which must be empty, cannot be written.
pub fn write_sparse<W: WriteAt>(
    source: &mut dyn BlockSource,
    capacity: u64,
    out: W,
    name: &str,
    cid: u32,
) -> io::Result<W> {
    let size = source.size();
    if size > capacity_for(capacity)? {
        let message = format!("a disk of {capacity} bytes is too small for {size} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut writer = SparseWriter::new(out, capacity)?;
    let mut chunk = vec![0; CHUNK as usize];
    let mut next = 0;
    while let Some(data) = if next < size { source.data_after(next)? } else { None } {
        let start = data.start.max(next) / CHUNK * CHUNK;
        let there = (size - start).min(CHUNK) as usize;
        source.read_at(start, &mut chunk[..there])?;
        chunk[there..].fill(0);
        for run in data_runs(&chunk) {
            writer.write(start + run.start as u64, &chunk[run])?;
        }
        next = start + CHUNK;
    }
    writer.finish(name, cid, None)
}

/// Writes an empty child of another disk: what it does not hold is read from the parent.
///
/// `name` is the file's. `parent` is the parent's CID and its path, absolute or relative to the child.
///
/// # Errors
/// If `out`, which must be empty, cannot be written.
pub fn write_child<W: WriteAt>(
    out: W,
    capacity: u64,
    name: &str,
    cid: u32,
    parent: (u32, &str),
) -> io::Result<W> {
    SparseWriter::new(out, capacity)?.finish(name, cid, Some(parent))
}

pub(super) fn sector_number(sector: u64) -> io::Result<u32> {
    u32::try_from(sector).map_err(|_| io::Error::other("the disk's file would be larger than 2 TiB"))
}
