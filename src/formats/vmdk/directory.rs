//! A grain directory: where each grain of a sparse VMDK is.

use std::collections::BTreeMap;

use super::header::{Header, TABLE_ENTRIES};
use super::{BadDisk, ReadAt, SECTOR, read_exact_at};

/// Grain tables kept in memory: enough for 256 GiB in grains of 64 KiB, and 16 MiB at most.
const MOST_LOADED: usize = 8192;

type Table = Box<[u32; TABLE_ENTRIES as usize]>;

/// A table of holes, which most tables of a large disk are.
const NO_GRAINS: [u32; TABLE_ENTRIES as usize] = [0; TABLE_ENTRIES as usize];

/// A directory of grain tables: where each grain is. Tables are read when they are first needed.
#[derive(Debug)]
pub(super) struct Directory {
    /// The sector of each table; 0 for none.
    tables: Vec<u32>,
    loaded: BTreeMap<u64, Table>,
}

impl Directory {
    /// Reads the directory at this sector.
    pub(super) fn read(file: &(impl ReadAt + ?Sized), header: &Header, sector: u64) -> Result<Self, BadDisk> {
        let bytes = header.tables() * 4;
        let fits = sector.checked_mul(SECTOR).and_then(|start| start.checked_add(bytes));
        // Checked before anything of that size is allocated.
        if fits.is_none_or(|end| file.length().map_or(true, |length| end > length)) {
            return Err(BadDisk::Truncated("the grain directory"));
        }
        let tables = read_entries(file, sector * SECTOR, header.tables() as usize, "the grain directory")?;
        Ok(Self { tables, loaded: BTreeMap::new() })
    }

    /// Returns the table entry of a grain: 0 for a hole.
    pub(super) fn entry(&mut self, file: &(impl ReadAt + ?Sized), grain: u64) -> Result<u32, BadDisk> {
        let table = self.table(file, grain / TABLE_ENTRIES)?;
        Ok(table.map_or(0, |entries| entries[(grain % TABLE_ENTRIES) as usize]))
    }

    /// Returns a table; none if all its grains are holes.
    fn table(&mut self, file: &(impl ReadAt + ?Sized), table: u64) -> Result<Option<&Table>, BadDisk> {
        let Some(sector) = self.table_sector(table) else { return Ok(None) };
        if !self.loaded.contains_key(&table) {
            let entries = read_entries(file, sector * SECTOR, TABLE_ENTRIES as usize, "a grain table")?;
            let entries = entries.into_boxed_slice().try_into().expect("exactly one table was read");
            if self.loaded.len() >= MOST_LOADED {
                self.loaded.clear();
            }
            self.loaded.insert(table, entries);
        }
        Ok(self.loaded.get(&table))
    }

    /// Returns the sector of a grain's table; none if it has no table.
    pub(super) fn table_sector(&self, table: u64) -> Option<u64> {
        let sector = *self.tables.get(usize::try_from(table).ok()?)?;
        (sector != 0).then_some(u64::from(sector))
    }

    /// Remembers a new entry of a table that was read before.
    pub(super) fn set(&mut self, grain: u64, entry: u32) {
        if let Some(entries) = self.loaded.get_mut(&(grain / TABLE_ENTRIES)) {
            entries[(grain % TABLE_ENTRIES) as usize] = entry;
        }
    }

    /// Returns the first grain at or after this one that is not a hole, before `end`, with its entry.
    pub(super) fn next_grain(
        &mut self,
        file: &(impl ReadAt + ?Sized),
        from: u64,
        end: u64,
        is_hole: impl Fn(u32) -> bool,
    ) -> Result<Option<(u64, u32)>, BadDisk> {
        let mut grain = from;
        while grain < end {
            let (table, place) = (grain / TABLE_ENTRIES, (grain % TABLE_ENTRIES) as usize);
            if let Some(entries) = self.table(file, table)?.filter(|entries| ***entries != NO_GRAINS) {
                let found = entries[place..].iter().zip(grain..end).find(|(entry, _)| !is_hole(**entry));
                if let Some((entry, grain)) = found {
                    return Ok(Some((grain, *entry)));
                }
            }
            grain = (table + 1) * TABLE_ENTRIES;
        }
        Ok(None)
    }
}

fn read_entries(
    file: &(impl ReadAt + ?Sized),
    offset: u64,
    count: usize,
    what: &'static str,
) -> Result<Vec<u32>, BadDisk> {
    let mut bytes = vec![0; count * 4];
    read_exact_at(file, offset, &mut bytes, what)?;
    Ok(bytes.chunks_exact(4).map(|entry| u32::from_le_bytes(entry.try_into().expect("four bytes"))).collect())
}
