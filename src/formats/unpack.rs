//! Compressed pieces of disk images, unpacked into memory that is given: nothing is allocated on an image's word.
//!
//! libdeflate and libzstd unpack a whole piece at once into a buffer of its known size, which is what makes them fast;
//! how they compare with others is said in benches/README.md.

use std::io;

use super::block::{BadDisk, ReadAt, SECTOR, read_exact_at};

/// Before a compressed grain of a VMDK: its first sector (8 bytes), then the size of its data (4 bytes).
const MARKER: usize = 12;

/// How a piece of a disk is compressed, and where in the image's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// Deflate without a header; the room may be larger than the data.
    Deflate { offset: u64, room: u64 },
    /// A frame of Zstandard; the room may be larger than the frame.
    Zstd { offset: u64, room: u64 },
    /// A VMDK's grain: a marker, then deflate in zlib's wrapping.
    Grain { offset: u64 },
}

/// Unpacks pieces one after another; each thread has its own.
#[derive(Default)]
pub struct Unpacker {
    deflate: libdeflater::Decompressor,
    zstd: Option<zstd_safe::DCtx<'static>>,
    /// The compressed bytes of the last piece.
    packed: Vec<u8>,
}

impl Unpacker {
    /// Fills `out`, which is the piece of the disk that begins at `start`.
    ///
    /// # Errors
    /// If the file ends too early, or the data is not what it says.
    pub fn unpack(
        &mut self,
        file: &dyn ReadAt,
        packed: Packed,
        start: u64,
        out: &mut [u8],
    ) -> Result<(), BadDisk> {
        let damaged = || BadDisk::corrupt(format!("the compressed data of the disk at byte {start}"));
        // What does not shrink is stored as it is, so that nothing compressed is much larger than its content.
        let most = out.len() as u64 + out.len() as u64 / 16 + SECTOR;
        match packed {
            Packed::Deflate { offset, room } => {
                self.read(file, offset, room.min(most), "a compressed cluster")?;
                match self.deflate.deflate_decompress(&self.packed, out) {
                    Ok(written) if written == out.len() => Ok(()),
                    _ => Err(damaged()),
                }
            }
            Packed::Zstd { offset, room } => {
                self.read(file, offset, room.min(most), "a compressed cluster")?;
                // libzstd takes what follows the frame for another one.
                let frame = zstd_safe::find_frame_compressed_size(&self.packed).map_err(|_| damaged())?;
                let context = self.zstd.get_or_insert_with(zstd_safe::DCtx::create);
                match context.decompress(out, &self.packed[..frame]) {
                    Ok(written) if written == out.len() => Ok(()),
                    _ => Err(damaged()),
                }
            }
            Packed::Grain { offset } => {
                let mut marker = [0; MARKER];
                read_exact_at(file, offset, &mut marker, "a grain's marker")?;
                let (sector, size) = marker.split_at(8);
                let sector = u64::from_le_bytes(sector.try_into().expect("eight bytes"));
                let size = u64::from(u32::from_le_bytes(size.try_into().expect("four bytes")));
                if sector != start / SECTOR || size > most {
                    return Err(BadDisk::corrupt(format!("the marker of the grain at byte {start}")));
                }
                self.read(file, offset + MARKER as u64, size, "a grain")?;
                let written = self.deflate.zlib_decompress(&self.packed, out).map_err(|_| damaged())?;
                // The last grain may be cut where the disk ends.
                out[written..].fill(0);
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        file: &dyn ReadAt,
        offset: u64,
        length: u64,
        what: &'static str,
    ) -> Result<(), BadDisk> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.packed.resize(length, 0);
        read_exact_at(file, offset, &mut self.packed, what)
    }
}
