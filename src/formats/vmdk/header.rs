//! The binary head of a VMDK and its grain tables (facts/vm-images-cloudinit.md §2.3).

use super::descriptor::Descriptor;
use super::{BadDisk, ReadAt, SECTOR, read_exact_at};

/// What a sparse VMDK begins with.
pub const MAGIC: [u8; 4] = *b"KDMV";
/// Sectors of a grain in the disks we write: 64 KiB.
pub(super) const GRAIN_SECTORS: u64 = 128;
/// Entries of a grain table; every product uses this number.
pub(super) const TABLE_ENTRIES: u64 = 512;
/// Sectors of a grain table.
pub(super) const TABLE_SECTORS: u64 = TABLE_ENTRIES * 4 / SECTOR;
pub(super) const DESCRIPTOR_SECTOR: u64 = 1;
pub(super) const DESCRIPTOR_SECTORS: u64 = 20;
/// In a stream the directory's place stands in the footer, and the header has this instead.
pub(super) const DIRECTORY_AT_END: u64 = u64::MAX;
/// What follows a newline test in an intact file: it shows that no program took the disk for a text.
const NEWLINES: [u8; 4] = [b'\n', b' ', b'\r', b'\n'];
pub(super) const FLAG_NEWLINE_TEST: u32 = 1;
pub(super) const FLAG_REDUNDANT_TABLE: u32 = 1 << 1;
const FLAG_ZERO_GRAINS: u32 = 1 << 2;
/// With that flag, a table entry that says "zeros, whatever the parent has".
pub(super) const ZERO_GRAIN: u32 = 1;
pub(super) const FLAG_COMPRESSED: u32 = 1 << 16;
pub(super) const FLAG_MARKERS: u32 = 1 << 17;
const DEFLATE: u16 = 1;
/// Grains of 4 KiB to 4 MiB are believed.
const GRAIN_RANGE: std::ops::RangeInclusive<u64> = 8..=8192;
/// The largest descriptor that is believed, in sectors.
const MOST_DESCRIPTOR_SECTORS: u64 = 2048;
/// The largest disk that 32-bit sector numbers can hold.
pub(super) const MOST_SECTORS: u64 = 1 << 32;
/// The same in bytes: 2 TiB.
pub const MOST_BYTES: u64 = MOST_SECTORS * SECTOR;

/// The first sector of a sparse VMDK, or a stream's footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) flags: u32,
    pub(super) capacity_sectors: u64,
    pub(super) grain_sectors: u64,
    pub(super) descriptor: (u64, u64),
    /// Where the redundant and the main grain directory stand, in sectors.
    pub(super) redundant_directory: u64,
    pub(super) directory: u64,
    /// Sectors before the first grain.
    pub(super) overhead: u64,
}

impl Header {
    /// Returns the header of a `monolithicSparse` disk: both directories, each followed by its tables.
    pub(super) fn sparse(capacity_sectors: u64) -> Self {
        let tables = capacity_sectors.div_ceil(GRAIN_SECTORS * TABLE_ENTRIES);
        let copy = (tables * 4).div_ceil(SECTOR) + tables * TABLE_SECTORS;
        let redundant_directory = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS;
        let directory = redundant_directory + copy;
        Self {
            version: 1,
            flags: FLAG_NEWLINE_TEST | FLAG_REDUNDANT_TABLE,
            capacity_sectors,
            grain_sectors: GRAIN_SECTORS,
            descriptor: (DESCRIPTOR_SECTOR, DESCRIPTOR_SECTORS),
            redundant_directory,
            directory,
            overhead: (directory + copy).next_multiple_of(GRAIN_SECTORS),
        }
    }

    /// Reads the header at the beginning of a file.
    pub(super) fn read(file: &(impl ReadAt + ?Sized)) -> Result<Self, BadDisk> {
        Self::read_at(file, 0)
    }

    pub(super) fn read_at(file: &(impl ReadAt + ?Sized), offset: u64) -> Result<Self, BadDisk> {
        let mut bytes = [0; SECTOR as usize];
        read_exact_at(file, offset, &mut bytes, "the VMDK header")?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8; SECTOR as usize]) -> Result<Self, BadDisk> {
        let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..4] != MAGIC {
            return Err(BadDisk::NotADisk("it is not a sparse VMDK"));
        }
        let header = Self {
            version: u32_at(4),
            flags: u32_at(8),
            capacity_sectors: u64_at(12),
            grain_sectors: u64_at(20),
            descriptor: (u64_at(28), u64_at(36)),
            redundant_directory: u64_at(48),
            directory: u64_at(56),
            overhead: u64_at(64),
        };
        if !(1..=3).contains(&header.version) {
            return Err(BadDisk::Unsupported(format!("VMDK version {}", header.version)));
        }
        if header.flags & FLAG_NEWLINE_TEST != 0 && bytes[73..77] != NEWLINES {
            return Err(BadDisk::corrupt("it was transferred as a text file"));
        }
        if !header.grain_sectors.is_power_of_two() || !GRAIN_RANGE.contains(&header.grain_sectors) {
            return Err(BadDisk::corrupt(format!("grains of {} sectors", header.grain_sectors)));
        }
        if u64::from(u32_at(44)) != TABLE_ENTRIES {
            return Err(BadDisk::Unsupported(format!("grain tables of {} entries", u32_at(44))));
        }
        if header.flags & FLAG_COMPRESSED != 0 && u16_at(77) != DEFLATE {
            return Err(BadDisk::Unsupported(format!("compression method {}", u16_at(77))));
        }
        if header.capacity_sectors > MOST_SECTORS {
            return Err(BadDisk::corrupt(format!("a capacity of {} sectors", header.capacity_sectors)));
        }
        Ok(header)
    }

    /// Returns the header as a sector.
    pub(super) fn render(&self) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        let mut place = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        place(0, &MAGIC);
        place(4, &self.version.to_le_bytes());
        place(8, &self.flags.to_le_bytes());
        place(12, &self.capacity_sectors.to_le_bytes());
        place(20, &self.grain_sectors.to_le_bytes());
        place(28, &self.descriptor.0.to_le_bytes());
        place(36, &self.descriptor.1.to_le_bytes());
        place(44, &(TABLE_ENTRIES as u32).to_le_bytes());
        place(48, &self.redundant_directory.to_le_bytes());
        place(56, &self.directory.to_le_bytes());
        place(64, &self.overhead.to_le_bytes());
        place(73, &NEWLINES);
        let method = if self.flags & FLAG_COMPRESSED != 0 { DEFLATE } else { 0 };
        place(77, &method.to_le_bytes());
        bytes
    }

    /// Reads the descriptor that is embedded in the file.
    pub(super) fn descriptor(&self, file: &(impl ReadAt + ?Sized)) -> Result<Descriptor, BadDisk> {
        let (sector, sectors) = self.descriptor;
        if sector == 0 || sectors == 0 {
            return Err(BadDisk::Unsupported("a sparse extent without a descriptor of its own".to_owned()));
        }
        if sectors > MOST_DESCRIPTOR_SECTORS || sector > MOST_SECTORS {
            return Err(BadDisk::corrupt(format!("a descriptor of {sectors} sectors")));
        }
        let mut bytes = vec![0; (sectors * SECTOR) as usize];
        read_exact_at(file, sector * SECTOR, &mut bytes, "the descriptor")?;
        Descriptor::parse(&bytes)
    }

    pub(super) fn has_zero_grains(&self) -> bool {
        self.flags & FLAG_ZERO_GRAINS != 0
    }

    /// Says whether a table entry stands for no grain of the disk's own.
    pub(super) fn is_hole(&self, entry: u32) -> bool {
        entry == 0 || entry == ZERO_GRAIN && self.has_zero_grains()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity_sectors * SECTOR
    }

    /// Returns the size of a grain in bytes.
    pub(super) fn grain(&self) -> u64 {
        self.grain_sectors * SECTOR
    }

    /// Returns the sector of the first table that belongs to the directory at this sector.
    pub(super) fn first_table(&self, directory: u64) -> u64 {
        directory + (self.tables() * 4).div_ceil(SECTOR)
    }

    /// Returns the number of grain tables.
    pub(super) fn tables(&self) -> u64 {
        self.capacity_sectors.div_ceil(self.grain_sectors * TABLE_ENTRIES)
    }
}
