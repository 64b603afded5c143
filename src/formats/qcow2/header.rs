//! What a qcow2 image says of itself.

use crate::formats::block::{BadDisk, ReadAt, read_exact_at};

/// What an image begins with.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The header's part that version 2 has, and the least that version 3 has.
const HEADER_2: usize = 72;
const HEADER_3: usize = 104;
/// Clusters of 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Entries of the largest first table that qemu believes: 32 MiB.
const MOST_LEVEL_1: u64 = (32 << 20) / 8;
/// Bytes of the longest backing file's name.
const LONGEST_NAME: u32 = 1023;
/// Features that a reader must know. A dirty image's counters may be wrong, but its content is good.
const FEATURE_DIRTY: u64 = 1;
const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_EXTERNAL_DATA: u64 = 1 << 2;
const FEATURE_COMPRESSION: u64 = 1 << 3;
const FEATURE_EXTENDED_L2: u64 = 1 << 4;

/// An image's header. One that was read may still be of an image that cannot be: see [`Header::obstacles`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The logarithm of a cluster's size in bytes.
    pub cluster_bits: u32,
    /// The disk's size in bytes.
    pub size: u64,
    pub compression: Compression,
    /// The file that the image is a layer over.
    pub backing: Option<String>,
    pub is_encrypted: bool,
    /// How many internal snapshots there are.
    pub snapshots: u32,
    pub(super) level_1_offset: u64,
    level_1_entries: u64,
    features: u64,
}

/// How an image's compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Deflate,
    Zstd,
    Unknown(u8),
}

impl Header {
    /// Reads an image's header.
    ///
    /// # Errors
    /// If it is not qcow2, of another version than 2 and 3, or not whole.
    pub fn read(file: &dyn ReadAt) -> Result<Self, BadDisk> {
        let mut bytes = [0; HEADER_3 + 1];
        read_exact_at(file, 0, &mut bytes[..HEADER_2], "the qcow2 header")?;
        if !bytes.starts_with(&MAGIC) {
            return Err(BadDisk::NotADisk("it is not qcow2"));
        }
        let version = u32_at(&bytes, 4);
        match version {
            2 => {}
            3 => {
                read_exact_at(file, 0, &mut bytes[..HEADER_3], "the qcow2 header")?;
                // The kind of compression follows in longer headers.
                if u32_at(&bytes, 100) as usize > HEADER_3 {
                    read_exact_at(file, 0, &mut bytes, "the qcow2 header")?;
                }
            }
            other => return Err(BadDisk::Unsupported(format!("qcow2 version {other}"))),
        }
        let features = if version == 3 { u64_at(&bytes, 72) } else { 0 };
        let compression = match bytes[HEADER_3] {
            _ if features & FEATURE_COMPRESSION == 0 => Compression::Deflate,
            0 => Compression::Deflate,
            1 => Compression::Zstd,
            other => Compression::Unknown(other),
        };
        Ok(Self {
            version,
            cluster_bits: u32_at(&bytes, 20),
            size: u64_at(&bytes, 24),
            compression,
            backing: backing(file, u64_at(&bytes, 8), u32_at(&bytes, 16))?,
            is_encrypted: u32_at(&bytes, 32) != 0,
            snapshots: u32_at(&bytes, 60),
            level_1_offset: u64_at(&bytes, 40),
            level_1_entries: u32_at(&bytes, 36).into(),
            features,
        })
    }

    /// Returns all that keeps the image from being read, the weightiest first; nothing if it can be.
    pub fn obstacles(&self) -> Vec<BadDisk> {
        let mut obstacles = Vec::new();
        if self.features & FEATURE_CORRUPT != 0 {
            obstacles.push(BadDisk::corrupt("it is marked as such"));
        }
        obstacles.extend(self.damage());
        if self.is_encrypted {
            obstacles.push(BadDisk::Encrypted);
        }
        obstacles.extend(self.backing.clone().map(BadDisk::Backed));
        if self.features & FEATURE_EXTERNAL_DATA != 0 {
            obstacles.push(BadDisk::ExternalData);
        }
        if let Compression::Unknown(kind) = self.compression {
            obstacles.push(BadDisk::Unsupported(format!("the unknown compression {kind}")));
        }
        if self.features & FEATURE_EXTENDED_L2 != 0 {
            obstacles.push(BadDisk::Unsupported("extended tables (subclusters)".to_owned()));
        }
        let known = FEATURE_DIRTY
            | FEATURE_CORRUPT
            | FEATURE_EXTERNAL_DATA
            | FEATURE_COMPRESSION
            | FEATURE_EXTENDED_L2;
        if self.features & !known != 0 {
            obstacles.push(BadDisk::Unsupported(format!("unknown features ({:#x})", self.features & !known)));
        }
        obstacles
    }

    /// Returns what in the header cannot be true.
    fn damage(&self) -> Option<BadDisk> {
        if !CLUSTER_BITS.contains(&self.cluster_bits) {
            return Some(BadDisk::corrupt(format!("clusters of 2^{} bytes", self.cluster_bits)));
        }
        if i64::try_from(self.size).is_err() || self.level_1_needed() > MOST_LEVEL_1 {
            return Some(BadDisk::corrupt(format!("a disk of {} bytes", self.size)));
        }
        if self.level_1_entries < self.level_1_needed() {
            return Some(BadDisk::corrupt("its first table is smaller than the disk"));
        }
        None
    }

    /// Returns the size of a cluster in bytes.
    pub fn cluster(&self) -> u64 {
        1_u64.checked_shl(self.cluster_bits).unwrap_or(0)
    }

    /// Returns how many entries of the first table the disk needs. A second table is a cluster of 8-byte entries.
    pub(super) fn level_1_needed(&self) -> u64 {
        self.size.div_ceil(1 << (2 * self.cluster_bits - 3))
    }
}

/// Returns the backing file's name; none if there is no such file.
fn backing(file: &dyn ReadAt, offset: u64, length: u32) -> Result<Option<String>, BadDisk> {
    if offset == 0 {
        return Ok(None);
    }
    if length > LONGEST_NAME {
        return Err(BadDisk::corrupt(format!("a backing file's name of {length} bytes")));
    }
    let mut name = vec![0; length as usize];
    read_exact_at(file, offset, &mut name, "the backing file's name")?;
    Ok(Some(String::from_utf8_lossy(&name).into_owned()))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
