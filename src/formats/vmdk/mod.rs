//! VMDK disks: written as `monolithicSparse`, Fusion's own kind, or `monolithicFlat`, edited as the former, and read
//! in the kinds that images come in.
//!
//! ```text
//! sector 0       header
//!        1..21   descriptor: the text with CID, parent and geometry          descriptor.rs
//!        21..    grain directory and its grain tables, twice                 header.rs, directory.rs
//!        …       grains of 64 KiB; a table entry of 0 is a hole: zeros, or the parent's bytes
//! ```
//!
//! A `streamOptimized` disk has compressed grains, and its directory at the end. A `monolithicFlat` disk is a text file
//! with the descriptor alone, beside a file with the disk's bytes. Formats are those of facts/vm-images-cloudinit.md §2.

mod descriptor;
mod directory;
mod header;
mod map;
mod sparse;
mod write;

pub use super::block::{BadDisk, BlockSource, EmptyDisk, ReadAt, WriteAt};
pub use descriptor::{Extent, Kind};
pub use header::{MAGIC, MOST_BYTES};
pub(super) use map::GrainMap;
pub use sparse::SparseDisk;
pub use write::{SparseWriter, capacity_for, data_runs, write_child, write_sparse};

use super::block::{SECTOR, read_exact_at};
use descriptor::Descriptor;
use header::Header;

/// The parent CID of a disk without a parent.
pub const NO_PARENT: u32 = 0xffff_ffff;
/// Bytes of a grain in the disks we write; their capacity is a multiple of it.
pub const GRAIN: u64 = header::GRAIN_SECTORS * SECTOR;
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
    /// Bytes of a grain and how grains are kept; none for a disk without grains.
    pub grains: Option<Grains>,
}

/// How a disk keeps its grains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grains {
    pub bytes: u64,
    pub are_compressed: bool,
}

/// The content of a flat disk: a part of the file that its descriptor names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatExtent {
    /// As the descriptor has it: whoever opens it must see that it does not lead elsewhere.
    pub file: String,
    /// Where in the file the disk begins, in bytes.
    pub offset: u64,
    /// The disk's size in bytes.
    pub length: u64,
}

/// What a VMDK that can be read turned out to be.
pub(super) enum Opened {
    Sparse(GrainMap),
    Flat(FlatExtent),
}

impl Info {
    /// Returns all that keeps the disk from being read as an image; nothing if it can be.
    pub fn obstacles(&self) -> Vec<BadDisk> {
        let mut obstacles = Vec::new();
        if self.parent_cid.is_some() {
            obstacles.push(BadDisk::Backed(self.parent_hint.clone().unwrap_or_default()));
        }
        match (&self.kind, &self.extents[..]) {
            (Kind::MonolithicSparse | Kind::StreamOptimized, _) if self.grains.is_some() => {}
            (Kind::MonolithicFlat, [extent]) if extent.kind == "FLAT" && self.grains.is_none() => {}
            (Kind::MonolithicFlat, _) => {
                obstacles.push(BadDisk::corrupt("its descriptor does not name one flat file"));
            }
            (Kind::MonolithicSparse | Kind::StreamOptimized, _) => {
                obstacles.push(BadDisk::corrupt("its descriptor stands alone, and no grains are with it"));
            }
            (Kind::Other(kind), _) => obstacles.push(BadDisk::Unsupported(format!("the VMDK kind {kind:?}"))),
        }
        obstacles
    }
}

/// Says whether a file's beginning is that of a descriptor.
pub fn is_descriptor(beginning: &[u8]) -> bool {
    Descriptor::begins(beginning)
}

/// Reads what a VMDK says of itself: one with its descriptor inside, or a descriptor alone.
///
/// # Errors
/// If this is not a VMDK, or a damaged one.
pub fn inspect(file: &(impl ReadAt + ?Sized)) -> Result<Info, BadDisk> {
    let size = file.length()?;
    let mut magic = [0; 4];
    read_exact_at(file, 0, &mut magic, "not even a magic number")?;
    if magic == MAGIC {
        let header = Header::read(file)?;
        return Ok(header.descriptor(file)?.into_info(&header));
    }
    if size > LONGEST_DESCRIPTOR || !magic.starts_with(b"#") {
        return Err(BadDisk::NotADisk("it is not a VMDK"));
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    read_exact_at(file, 0, &mut text, "the descriptor")?;
    Descriptor::parse(&text)?.into_info_of_text()
}

/// Opens a VMDK to be read as an image.
///
/// # Errors
/// If this is not a VMDK, a damaged one, or one that we do not read.
pub(super) fn open(file: &dyn ReadAt) -> Result<Opened, BadDisk> {
    let info = inspect(file)?;
    if let Some(obstacle) = info.obstacles().into_iter().next() {
        return Err(obstacle);
    }
    if info.grains.is_some() {
        return Ok(Opened::Sparse(GrainMap::open(file)?));
    }
    let [extent] = &info.extents[..] else {
        return Err(BadDisk::corrupt("its descriptor does not name one flat file"));
    };
    let offset = extent.offset.checked_mul(SECTOR).ok_or_else(|| BadDisk::corrupt("the extent's offset"))?;
    Ok(Opened::Flat(FlatExtent { file: extent.file.clone(), offset, length: info.capacity }))
}

/// Returns the text of a `monolithicFlat` disk's descriptor, whose content is the raw file `extent`.
pub fn flat_descriptor(capacity: u64, extent: &str, cid: u32) -> String {
    Descriptor::flat(capacity.div_ceil(SECTOR), extent, cid).render()
}

#[cfg(test)]
mod tests;
