//! A disk image of any kind: known by its content, walked as stretches of data, and read in windows.
//!
//! ```text
//! file ──▶ open ──▶ Image ──▶ Windows ──▶ Window ──▶ fill        many threads, one window each
//!                     │          one walk of the tables, in order
//!                     └──▶ BlockSource                           one reader, any place
//! ```
//!
//! What a format adds is a `Map`: where in the file each stretch of the disk is. Everything else is shared.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::block::{BadDisk, BlockSource, ReadAt, SECTOR, check_range, read_exact_at};
use super::qcow2;
use super::unpack::{Packed, Unpacker};
use super::vmdk;

/// Bytes of a window, unless the image is packed in larger pieces.
const WINDOW: u64 = 1 << 20;
/// A boot sector's last two bytes, which every disk with a partition table has.
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// What files that are sometimes taken for disk images begin with.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\xfd7zXZ\0", "it is compressed by xz: unpack it first"),
    (b"\x1f\x8b", "it is compressed by gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd: unpack it first"),
    (b"BZh", "it is compressed by bzip2: unpack it first"),
    (b"PK\x03\x04", "it is a ZIP archive: unpack it first"),
    (b"vhdxfile", "it is a VHDX disk"),
    (b"conectix", "it is a VHD disk"),
    (b"<<< ", "it is a VirtualBox disk"),
    (b"<!DOCTYPE", "it is a web page"),
    (b"<!doctype", "it is a web page"),
    (b"<html", "it is a web page"),
];

/// A part of the disk that is kept in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) place: Place,
}

/// Where a stretch's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// As they are, from this place of the file.
    Plain(u64),
    Packed(Packed),
}

/// Where in an image's file the disk's bytes are.
pub(super) trait Map: Send {
    /// Returns the disk's size in bytes.
    fn size(&self) -> u64;

    /// Returns the size of the largest piece that can only be unpacked whole: a power of two, and pieces begin at its
    /// multiples.
    fn unit(&self) -> u64;

    /// Returns the first stretch that ends after this place of the disk; none if only holes follow.
    ///
    /// # Errors
    /// If the tables are damaged.
    fn stretch_after(&mut self, file: &dyn ReadAt, offset: u64) -> Result<Option<Stretch>, BadDisk>;
}

/// An image that can be read.
pub struct Image {
    file: Arc<dyn ReadAt>,
    map: Box<dyn Map>,
    unpacker: Unpacker,
    /// The packed piece that was read last, with its first byte's place.
    unpacked: Option<(u64, Vec<u8>)>,
}

/// What a file turned out to be.
pub enum Opened {
    Image(Image),
    /// The descriptor of a flat VMDK: the content is in another file, for [`Image::flat`].
    Flat(vmdk::FlatExtent),
}

/// Opens a disk image by what it is, whatever its name: qcow2, VMDK, or a raw disk with a partition table.
///
/// # Errors
/// If it is none of these, damaged, or uses what we do not read.
pub fn open(file: Arc<dyn ReadAt>) -> Result<Opened, BadDisk> {
    match kind(&*file)? {
        ImageKind::Qcow2 => {
            let map = qcow2::Qcow2Map::open(&*file)?;
            Ok(Opened::Image(Image::new(file, Box::new(map))))
        }
        ImageKind::Vmdk => match vmdk::open(&*file)? {
            vmdk::Opened::Sparse(map) => Ok(Opened::Image(Image::new(file, Box::new(map)))),
            vmdk::Opened::Flat(extent) => Ok(Opened::Flat(extent)),
        },
        ImageKind::Raw => {
            let size = file.length()?;
            Ok(Opened::Image(Image::new(file, Box::new(PlainMap { base: 0, size }))))
        }
    }
}

/// The kinds of images that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    Qcow2,
    Vmdk,
    Raw,
}

/// Says what a file is by its first bytes.
///
/// # Errors
/// If it is no disk image that we know.
pub fn kind(file: &dyn ReadAt) -> Result<ImageKind, BadDisk> {
    let mut sector = [0; SECTOR as usize];
    let there = usize::try_from(file.length()?).map_or(sector.len(), |length| length.min(sector.len()));
    read_exact_at(file, 0, &mut sector[..there], "its first sector")?;
    if sector.starts_with(&qcow2::MAGIC) {
        return Ok(ImageKind::Qcow2);
    }
    if sector.starts_with(&vmdk::MAGIC) || vmdk::is_descriptor(&sector) {
        return Ok(ImageKind::Vmdk);
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| sector.starts_with(magic)) {
        return Err(BadDisk::NotADisk(what));
    }
    match there {
        0 => Err(BadDisk::Truncated("it is empty")),
        _ if sector.ends_with(&BOOT_SIGNATURE) => Ok(ImageKind::Raw),
        _ => Err(BadDisk::NotADisk("it is neither qcow2, nor VMDK, nor a raw disk with a partition table")),
    }
}

impl Image {
    fn new(file: Arc<dyn ReadAt>, map: Box<dyn Map>) -> Self {
        Self { file, map, unpacker: Unpacker::default(), unpacked: None }
    }

    /// Returns the disk of a flat VMDK, whose content is in this file.
    ///
    /// # Errors
    /// If the file is shorter than the descriptor says.
    pub fn flat(extent: &vmdk::FlatExtent, file: Arc<dyn ReadAt>) -> Result<Self, BadDisk> {
        let there = file.length()?;
        if extent.offset.checked_add(extent.length).is_none_or(|end| end > there) {
            return Err(BadDisk::Truncated("the flat file is shorter than its descriptor says"));
        }
        let map = PlainMap { base: extent.offset, size: extent.length };
        Ok(Self::new(file, Box::new(map)))
    }

    /// Returns the disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.map.size()
    }

    /// Returns how many bytes of the disk are not holes of the image.
    ///
    /// # Errors
    /// If the image's tables are damaged.
    pub fn data_bytes(&mut self) -> Result<u64, BadDisk> {
        let (mut sum, mut at) = (0, 0);
        while let Some(stretch) = next_stretch(&mut *self.map, &*self.file, at)? {
            sum += stretch.end().min(self.map.size()) - stretch.start.max(at);
            at = stretch.end();
        }
        Ok(sum)
    }

    /// Returns the walk over all that is not a hole, and the file that its windows are filled from.
    pub fn windows(self) -> (Windows, Arc<dyn ReadAt>) {
        let window = WINDOW.max(self.map.unit());
        (Windows { file: self.file.clone(), map: self.map, window, next: 0 }, self.file)
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), BadDisk> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let rest = &mut buffer[done..];
            let stretch = next_stretch(&mut *self.map, &*self.file, at)?;
            let gap = stretch.map_or(u64::MAX, |stretch| stretch.start.saturating_sub(at));
            let (Some(stretch), 0) = (stretch, gap) else {
                let gap = usize::try_from(gap).map_or(rest.len(), |gap| gap.min(rest.len()));
                rest[..gap].fill(0);
                done += gap;
                continue;
            };
            let (within, length) = (at - stretch.start, rest.len() as u64);
            let part = &mut rest[..length.min(stretch.length - within) as usize];
            match stretch.place {
                Place::Plain(place) => read_exact_at(&*self.file, place + within, part, "the disk's data")?,
                Place::Packed(packed) => {
                    if self.unpacked.as_ref().is_none_or(|(start, _)| *start != stretch.start) {
                        let mut content = vec![0; stretch.length as usize];
                        self.unpacker.unpack(&*self.file, packed, stretch.start, &mut content)?;
                        self.unpacked = Some((stretch.start, content));
                    }
                    let (_, content) = self.unpacked.as_ref().expect("the piece was just unpacked");
                    part.copy_from_slice(&content[within as usize..][..part.len()]);
                }
            }
            done += part.len();
        }
        Ok(())
    }
}

impl BlockSource for Image {
    fn size(&self) -> u64 {
        self.map.size()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        check_range(offset, buffer.len(), self.map.size())?;
        Ok(self.read(offset, buffer)?)
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.map.size();
        let stretch = next_stretch(&mut *self.map, &*self.file, offset)?;
        Ok(stretch.map(|stretch| stretch.start.max(offset)..stretch.end().min(size)))
    }
}

/// The walk over an image, from its first byte to its last.
pub struct Windows {
    file: Arc<dyn ReadAt>,
    map: Box<dyn Map>,
    window: u64,
    next: u64,
}

/// A part of the disk with some data in it, to be filled by any thread.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first byte's place on the disk: a multiple of the windows' size.
    pub start: u64,
    /// How many of its bytes are the disk's: all but in the last window.
    length: usize,
    stretches: Vec<Stretch>,
}

impl Windows {
    /// Returns the bytes of every window: a power of two, at most 4 MiB.
    pub fn window_size(&self) -> usize {
        self.window as usize
    }

    /// Returns the disk's size in bytes.
    pub fn disk_size(&self) -> u64 {
        self.map.size()
    }

    /// Returns the next window that has data; none after the last.
    ///
    /// # Errors
    /// If the image's tables are damaged.
    pub fn next_window(&mut self) -> Result<Option<Window>, BadDisk> {
        let Some(first) = next_stretch(&mut *self.map, &*self.file, self.next)? else { return Ok(None) };
        let start = first.start.max(self.next) / self.window * self.window;
        let end = start + self.window;
        self.next = end;
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut found = Some(first);
        while let Some(stretch) = found.filter(|stretch| stretch.start < end) {
            let part = stretch.clipped(start..end.min(self.map.size()));
            match stretches.last_mut() {
                Some(last) if last.continues_in(&part) => last.length += part.length,
                _ => stretches.push(part),
            }
            found = if stretch.end() < end {
                next_stretch(&mut *self.map, &*self.file, stretch.end())?
            } else {
                None
            };
        }
        let length = self.window.min(self.map.size() - start) as usize;
        Ok(Some(Window { start, length, stretches }))
    }
}

impl Window {
    /// Fills a buffer of the windows' size with the disk's bytes; what lies behind the disk's end reads as zeros.
    ///
    /// # Errors
    /// If the image is damaged there or cannot be read.
    pub fn fill(&self, file: &dyn ReadAt, unpacker: &mut Unpacker, buffer: &mut [u8]) -> Result<(), BadDisk> {
        let mut filled = 0;
        for stretch in &self.stretches {
            let at = (stretch.start - self.start) as usize;
            buffer[filled..at].fill(0);
            filled = at + stretch.length as usize;
            let part = &mut buffer[at..filled];
            match stretch.place {
                Place::Plain(place) => read_exact_at(file, place, part, "the disk's data")?,
                Place::Packed(packed) => unpacker.unpack(file, packed, stretch.start, part)?,
            }
        }
        // The last packed piece may hold more than the disk does.
        buffer[filled.min(self.length)..].fill(0);
        Ok(())
    }
}

impl Stretch {
    pub(super) fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Returns the part within a range; a packed piece has no parts.
    fn clipped(&self, range: Range<u64>) -> Self {
        let Place::Plain(place) = self.place else { return *self };
        let start = self.start.max(range.start);
        let place = Place::Plain(place + (start - self.start));
        Self { start, length: self.end().min(range.end) - start, place }
    }

    /// Says whether another stretch follows on the disk and in the file.
    fn continues_in(&self, next: &Self) -> bool {
        let (Place::Plain(here), Place::Plain(there)) = (self.place, next.place) else { return false };
        self.end() == next.start && here.checked_add(self.length) == Some(there)
    }
}

/// Asks a map, and does not believe an answer that would lead backwards.
fn next_stretch(map: &mut dyn Map, file: &dyn ReadAt, offset: u64) -> Result<Option<Stretch>, BadDisk> {
    if offset >= map.size() {
        return Ok(None);
    }
    let stretch = map.stretch_after(file, offset)?.filter(|stretch| stretch.start < map.size());
    debug_assert!(stretch.is_none_or(|stretch| stretch.end() > offset), "{stretch:?} after {offset}");
    Ok(stretch)
}

/// A disk whose bytes are in the file as they are.
struct PlainMap {
    /// Where in the file the disk begins.
    base: u64,
    size: u64,
}

impl Map for PlainMap {
    fn size(&self) -> u64 {
        self.size
    }

    fn unit(&self) -> u64 {
        1
    }

    fn stretch_after(&mut self, file: &dyn ReadAt, offset: u64) -> Result<Option<Stretch>, BadDisk> {
        let Some(data) = file.data_after(self.base + offset)? else { return Ok(None) };
        let (start, end) = (data.start - self.base, (data.end - self.base).min(self.size));
        let stretch = Stretch { start, length: end.saturating_sub(start), place: Place::Plain(data.start) };
        Ok(Some(stretch).filter(|stretch| stretch.length > 0))
    }
}
