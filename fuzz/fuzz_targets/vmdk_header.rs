//! Any bytes as a VMDK with its content inside, or any changes to a good one: sparse, compressed, and a clone's.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;
#[path = "shared/patched.rs"]
mod patched;
#[path = "shared/walk.rs"]
mod walk;

use formats::block::BlockSource;
use formats::vmdk::{self, SparseDisk, SparseWriter};
use libfuzzer_sys::fuzz_target;

const GRAIN: usize = vmdk::GRAIN as usize;
const SECTOR: usize = 512;

/// Returns a good disk: sparse, a stream, or a child.
fn good(kind: u8) -> Vec<u8> {
    match kind % 3 {
        0 => {
            let mut writer = SparseWriter::new(Vec::new(), 8 * vmdk::GRAIN).expect("memory");
            for grain in [0, 3] {
                writer.write(grain * vmdk::GRAIN, &vec![grain as u8 + 1; GRAIN]).expect("memory");
            }
            writer.finish("disk.vmdk", 1, None).expect("memory")
        }
        1 => stream(),
        _ => {
            vmdk::write_child(Vec::new(), 8 * vmdk::GRAIN, "child.vmdk", 2, (1, "disk.vmdk")).expect("memory")
        }
    }
}

/// Returns a stream of one compressed grain, its directory before it and its descriptor first.
fn stream() -> Vec<u8> {
    let sparse =
        vmdk::write_child(Vec::new(), 2 * vmdk::GRAIN, "disk.vmdk", 1, (u32::MAX, "")).expect("memory");
    let text =
        String::from_utf8_lossy(&sparse[SECTOR..21 * SECTOR]).replace("monolithicSparse", "streamOptimized");
    let mut file = sparse[..SECTOR].to_vec();
    file[4..8].copy_from_slice(&3_u32.to_le_bytes());
    file[8..12].copy_from_slice(&0x3_0001_u32.to_le_bytes());
    file[56..64].copy_from_slice(&21_u64.to_le_bytes());
    file[77] = 1;
    file.extend(text.as_bytes());
    file.resize(21 * SECTOR, 0);
    file.extend(22_u32.to_le_bytes());
    file.resize(22 * SECTOR, 0);
    file.extend(0_u32.to_le_bytes());
    file.extend(26_u32.to_le_bytes());
    file.resize(26 * SECTOR, 0);
    let mut packed = vec![0; GRAIN];
    let level = libdeflater::CompressionLvl::default();
    let length =
        libdeflater::Compressor::new(level).zlib_compress(&[9; GRAIN], &mut packed).expect("it shrinks");
    file.extend(128_u64.to_le_bytes());
    file.extend((length as u32).to_le_bytes());
    file.extend(&packed[..length]);
    file
}

fuzz_target!(|data: &[u8]| {
    let file = patched::patched(data, good);
    let read = walk::whole(&file);
    if data.len() == 2 && data[0] & 1 == 1 {
        assert_eq!(read, data[1] % 3 != 2, "good disks are read, but for a child without its parent");
    }
    if let Ok(info) = vmdk::inspect(&file) {
        let _ = info.obstacles();
    }
    if let Ok(mut disk) = SparseDisk::open(file) {
        let mut first = vec![0; 1000.min(disk.size() as usize)];
        let _ = disk.data_after(0);
        let _ = BlockSource::read_at(&mut disk, 0, &mut first);
    }
});
