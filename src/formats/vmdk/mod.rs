//! VMDK disks: written and edited as `monolithicSparse`, Fusion's own kind, and read in the kinds that
//! images come in.
//!
//! ```text
//! sector 0       header
//!        1..21   descriptor: the text with CID, parent and geometry          descriptor.rs
//!        21..    grain directory and its grain tables, twice                 header.rs
//!        …       grains of 64 KiB; a table entry of 0 is a hole: zeros, or the parent's bytes
//! ```
//!
//! Formats are those of facts/vm-images-cloudinit.md §2.

mod descriptor;
mod header;
mod sparse;
mod stream;
mod write;

use std::io::{Read, Seek};

pub use super::block::{BadDisk, BlockSource, EmptyDisk, RawDisk};
pub use descriptor::{Extent, Kind};
pub use sparse::SparseDisk;
pub use stream::StreamDisk;
pub use write::{EXTENT_NAME, write_child, write_sparse};

use super::block::{SECTOR, length, read_exact_at};
use descriptor::Descriptor;
use header::Header;

/// The parent CID of a disk without a parent.
pub const NO_PARENT: u32 = 0xffff_ffff;
/// The longest text file that is taken for a descriptor.
const LONGEST_DESCRIPTOR: u64 = 64 * 1024;

/// What a VMDK says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub kind: Kind,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// Changes with the content; a child names its parent's.
    pub cid: u32,
    /// The CID that the parent must have; none if there is no parent.
    pub parent_cid: Option<u32>,
    /// The parent's file as the child remembers it, relative to the child or absolute.
    pub parent_hint: Option<String>,
    /// The files that hold the disk, in order; a monolithic disk names itself.
    pub extents: Vec<Extent>,
    /// `ddb.adapterType`, such as `lsilogic`.
    pub adapter: Option<String>,
}

/// Reads what a VMDK says of itself: one with its descriptor inside, or a descriptor alone.
///
/// # Errors
/// If this is not a VMDK, or a damaged one.
pub fn inspect(file: &mut (impl Read + Seek)) -> Result<Info, BadDisk> {
    let size = length(file)?;
    let mut magic = [0; 4];
    read_exact_at(file, 0, &mut magic, "not even a magic number")?;
    if magic == header::MAGIC {
        let header = Header::read(file)?;
        let descriptor = header.descriptor(file)?;
        return Ok(descriptor.into_info(header.capacity_sectors * SECTOR));
    }
    if size > LONGEST_DESCRIPTOR || !magic.starts_with(b"#") {
        return Err(BadDisk::NotADisk("it is not a VMDK"));
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    read_exact_at(file, 0, &mut text, "the descriptor")?;
    let descriptor = Descriptor::parse(&text)?;
    let sectors = descriptor.extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors));
    let capacity = sectors.and_then(|sectors| sectors.checked_mul(SECTOR));
    let capacity = capacity.ok_or_else(|| BadDisk::corrupt("the extents are larger than any disk"))?;
    Ok(descriptor.into_info(capacity))
}

/// Returns the text of a `monolithicFlat` disk's descriptor, whose content is the raw file `extent`.
pub fn flat_descriptor(capacity: u64, extent: &str, cid: u32) -> String {
    Descriptor::flat(capacity.div_ceil(SECTOR), extent, cid).render()
}

#[cfg(test)]
mod tests;
