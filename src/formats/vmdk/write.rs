//! Writing `monolithicSparse` disks.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};

use super::descriptor::Descriptor;
use super::header::{
    DESCRIPTOR_SECTOR, DESCRIPTOR_SECTORS, GRAIN_SECTORS, Header, MOST_SECTORS, TABLE_ENTRIES, TABLE_SECTORS,
};
use super::{BlockSource, EmptyDisk, SECTOR};

/// The file name that the disks we write bear in their extent line: the name to give the file.
pub const EXTENT_NAME: &str = "disk.vmdk";
const GRAIN: u64 = GRAIN_SECTORS * SECTOR;

type Tables = BTreeMap<u64, Box<[u32; TABLE_ENTRIES as usize]>>;

/// Writes a disk of this capacity (rounded up to 64 KiB) that begins with the source's content. Holes and
/// grains of zeros take no room. `progress` hears how many bytes of the source are done.
///
/// The header is written last, so that a disk whose writing was cut off is not taken for one.
///
/// # Errors
/// If the source does not fit or cannot be read, or `out`, which must be empty, cannot be written.
pub fn write_sparse(
    source: &mut dyn BlockSource,
    capacity_bytes: u64,
    out: &mut (impl Write + Seek),
    cid: u32,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let header = header(capacity_bytes)?;
    if source.size() > header.capacity() {
        let message = format!("a disk of {capacity_bytes} bytes is too small for {} bytes", source.size());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let descriptor = Descriptor::sparse(header.capacity_sectors, EXTENT_NAME, cid, None);
    let tables = write_grains(source, &header, out, progress)?;
    write_head(&header, &descriptor, &tables, out)
}

/// Writes an empty child of another disk: what it does not hold is read from the parent.
///
/// `parent_cid` is the parent's CID, and `parent_hint` its path, absolute or relative to the child.
///
/// # Errors
/// If `out`, which must be empty, cannot be written.
pub fn write_child(
    out: &mut (impl Write + Seek),
    capacity_bytes: u64,
    cid: u32,
    parent_cid: u32,
    parent_hint: &str,
) -> io::Result<()> {
    let header = header(capacity_bytes)?;
    let parent = Some((parent_cid, parent_hint));
    let descriptor = Descriptor::sparse(header.capacity_sectors, EXTENT_NAME, cid, parent);
    let tables = write_grains(&mut EmptyDisk { size: 0 }, &header, out, &mut |_| ())?;
    write_head(&header, &descriptor, &tables, out)
}

fn header(capacity_bytes: u64) -> io::Result<Header> {
    let sectors = capacity_bytes.div_ceil(GRAIN).checked_mul(GRAIN_SECTORS);
    match sectors.filter(|sectors| (1..=MOST_SECTORS).contains(sectors)) {
        Some(sectors) => Ok(Header::sparse(sectors)),
        None => {
            let message = format!("a VMDK cannot have a capacity of {capacity_bytes} bytes");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// Writes the grains one after another and returns where they are.
fn write_grains(
    source: &mut dyn BlockSource,
    header: &Header,
    out: &mut (impl Write + Seek),
    progress: &mut dyn FnMut(u64),
) -> io::Result<Tables> {
    let mut tables = Tables::new();
    let mut sector = header.overhead;
    let mut grain = vec![0; GRAIN as usize];
    let size = source.size();
    // An empty disk ends where its first grain would begin.
    out.seek(SeekFrom::Start(header.overhead * SECTOR - 1))?;
    out.write_all(&[0])?;
    let mut offset = 0;
    while offset < size {
        let Some(data) = source.data_after(offset)? else { break };
        let mut at = data.start / GRAIN * GRAIN;
        let end = data.end.min(size);
        while at < end {
            let length = GRAIN.min(size - at) as usize;
            source.read_at(at, &mut grain[..length])?;
            grain[length..].fill(0);
            if grain.iter().any(|byte| *byte != 0) {
                out.write_all(&grain)?;
                let index = at / GRAIN;
                let table = tables
                    .entry(index / TABLE_ENTRIES)
                    .or_insert_with(|| Box::new([0; TABLE_ENTRIES as usize]));
                table[(index % TABLE_ENTRIES) as usize] = sector_number(sector)?;
                sector += GRAIN_SECTORS;
            }
            at += GRAIN;
            progress(at.min(size));
        }
        // Onwards even if a source should return an empty range.
        offset = at.max(data.end).max(offset + 1);
    }
    progress(size);
    Ok(tables)
}

/// Writes both directories with their tables, the descriptor, and last the header.
fn write_head(
    header: &Header,
    descriptor: &Descriptor,
    tables: &Tables,
    out: &mut (impl Write + Seek),
) -> io::Result<()> {
    for directory in [header.redundant_directory, header.directory] {
        let first_table = directory + (header.tables() * 4).div_ceil(SECTOR);
        let mut bytes = Vec::new();
        for table in 0..header.tables() {
            bytes.extend(sector_number(first_table + table * TABLE_SECTORS)?.to_le_bytes());
        }
        out.seek(SeekFrom::Start(directory * SECTOR))?;
        out.write_all(&bytes)?;
        // Tables that are not written are holes of the file, and so zero.
        for (table, entries) in tables {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            out.seek(SeekFrom::Start((first_table + table * TABLE_SECTORS) * SECTOR))?;
            out.write_all(&bytes)?;
        }
    }
    let mut text = descriptor.render().into_bytes();
    if text.len() as u64 > DESCRIPTOR_SECTORS * SECTOR {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the parent's path is too long for a descriptor",
        ));
    }
    text.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
    out.seek(SeekFrom::Start(DESCRIPTOR_SECTOR * SECTOR))?;
    out.write_all(&text)?;
    out.flush()?;
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header.render())?;
    out.flush()
}

pub(super) fn sector_number(sector: u64) -> io::Result<u32> {
    u32::try_from(sector).map_err(|_| io::Error::other("the disk's file would be larger than 2 TiB"))
}
