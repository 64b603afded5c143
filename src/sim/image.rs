//! The simulated cloud image: a small qcow2 whose only content is a mark: what the simulated firmware boots.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use super::files;

/// What every mark begins with.
const MARK: &str = "fusionlab simulated cloud image, version 1: ";
/// What the image of model guests says of itself.
pub const MODEL: &str = "not an operating system";
/// What the image of real guests says of itself, before the key of the system that it stands for.
pub const SYSTEM: &str = "system ";
/// Bytes from the disk's beginning to the mark.
pub const MARK_OFFSET: u64 = 64 * 1024;
/// Bytes that are read for the mark: one line, and zeros.
pub const MARK_LENGTH: u64 = 512;
/// The image's virtual size, as small as a cloud image could be.
pub const CAPACITY: u64 = 3584 * 1024 * 1024;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Clusters that one second-level table maps: eight bytes each.
const CLUSTERS_PER_TABLE: u64 = CLUSTER / 8;
/// In a table's entry: this cluster is used by nobody else.
const COPIED: u64 = 1 << 63;
/// In a second-level entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// How many clusters the file has: header, refcount table, refcount block, L1, L2, plain data, compressed data.
const CLUSTERS: u64 = 7;
const HEADER_LENGTH: u32 = 104;
const SECTOR: u64 = 512;

/// Returns what an image says of itself by the bytes at [`MARK_OFFSET`]; none if it is no simulated one.
pub fn words(mark: &[u8]) -> Option<String> {
    let line = mark.split(|byte| *byte == b'\n').next()?;
    Some(std::str::from_utf8(line).ok()?.strip_prefix(MARK)?.to_owned())
}

/// Writes an image that says these words of itself, and returns its SHA-256 in hexadecimal.
pub fn write(path: &Path, words: &str) -> io::Result<String> {
    let image = render(words)?;
    files::write(path, &image)?;
    Ok(hex::encode(Sha256::digest(&image)))
}

/// Lays out a version 3 qcow2 file (facts/vm-images-cloudinit.md §2.4): one plain cluster, one compressed as in
/// real cloud images, and holes.
fn render(words: &str) -> io::Result<Vec<u8>> {
    let mut image = vec![0; usize::try_from(CLUSTERS * CLUSTER).map_err(io::Error::other)?];
    let mut put = |offset: u64, bytes: &[u8]| {
        let at = offset as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let [table, block, l1, l2, plain, compressed] = [1, 2, 3, 4, 5, 6].map(|cluster: u64| cluster * CLUSTER);
    let l1_size = u32::try_from(CAPACITY.div_ceil(CLUSTER * CLUSTERS_PER_TABLE)).map_err(io::Error::other)?;
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &CLUSTER_BITS.to_be_bytes());
    put(24, &CAPACITY.to_be_bytes());
    put(36, &l1_size.to_be_bytes());
    put(40, &l1.to_be_bytes());
    put(48, &table.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // Refcounts of 16 bits.
    put(96, &4_u32.to_be_bytes());
    put(100, &HEADER_LENGTH.to_be_bytes());
    put(table, &block.to_be_bytes());
    for cluster in 0..CLUSTERS {
        put(block + 2 * cluster, &1_u16.to_be_bytes());
    }
    put(l1, &(l2 | COPIED).to_be_bytes());
    // Cluster 0 of the disk: words for whoever looks.
    put(l2, &(plain | COPIED).to_be_bytes());
    put(plain, b"This disk belongs to a simulated machine.\n");
    // Cluster 1 of the disk: the mark, compressed.
    let mut marked = format!("{MARK}{words}\n").into_bytes();
    marked.resize(CLUSTER as usize, 0);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&marked)?;
    let deflated = encoder.finish()?;
    let sectors = (deflated.len() as u64).div_ceil(SECTOR) - 1;
    let entry = COMPRESSED | sectors << (62 - (CLUSTER_BITS - 8)) | compressed;
    put(l2 + 8 * (MARK_OFFSET / CLUSTER), &entry.to_be_bytes());
    put(compressed, &deflated);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_always_the_same() {
        assert_eq!(render(MODEL).unwrap(), render(MODEL).unwrap());
    }
}
