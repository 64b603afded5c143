//! From a disk image of any kind to a disk that Fusion runs, as fast as the machine can unpack and write.
//!
//! ```text
//!             ┌─▶ worker ─▶┐   unpack                       grains in order
//! tables ─────┼─▶ worker ─▶┼────────▶ the calling thread ─────────────▶ NAME.part ─▶ NAME
//!  windows    └─▶ worker ─▶┘                                                 fsync, rename
//! ```
//!
//! Memory is bounded by a fixed budget of windows (`pipeline`), whatever the image says of itself. What is not finished
//! has another name (`target`), and whoever comes next takes it away.

mod pipeline;
mod target;

use std::fs::File;
use std::path::{Component, Path};
use std::sync::Arc;

use super::stand_in::{self, Effect};
use super::{HostError, Result, files};
use crate::formats::block::{BadDisk, ReadAt, WriteAt};
use crate::formats::image::{self, Image, ImageKind, Opened};
use crate::formats::qcow2::Header;
use crate::formats::vmdk::{self, Info, SparseWriter};
use target::Target;

/// How the new disk is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `monolithicSparse`: one file, which grows with the content.
    Sparse,
    /// `monolithicFlat`: the disk's bytes in `NAME-flat.vmdk`, and beside them a descriptor.
    Flat,
}

/// What is to be converted, and into what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub source: &'a Path,
    /// The new disk; nothing may be there yet.
    pub target: &'a Path,
    /// The new disk's size in bytes; the source's if it is not given.
    pub capacity: Option<u64>,
    pub format: Format,
    /// The new disk's content id; a random one if it is not given.
    pub cid: Option<u32>,
}

/// What a conversion made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The disk's size in bytes: as wished, rounded up to a grain.
    pub capacity: u64,
    /// The bytes that were written, which are those of all grains that are not zeros.
    pub data_bytes: u64,
    /// What the disk's files take on the host's disk.
    pub file_bytes: u64,
    pub cid: u32,
}

/// Opens a disk image, whatever its kind.
///
/// # Errors
/// If it is no image that can be read ([`HostError::Image`]), or cannot be opened.
pub fn open(path: &Path) -> Result<Image> {
    let file = Arc::new(files::open(path)?);
    match image::open(file).map_err(HostError::image(path))? {
        Opened::Image(image) => Ok(image),
        Opened::Flat(extent) => {
            let beside = beside(path, &extent.file)?;
            let file = Arc::new(files::open(&beside)?);
            Image::flat(&extent, file).map_err(HostError::image(&beside))
        }
    }
}

/// What an image is, whether it can be read or not.
#[derive(Debug)]
pub struct Survey {
    pub facts: Facts,
    /// The length of its file.
    pub file_bytes: u64,
    /// What of the disk is no hole, in bytes; none if the image cannot be read, or is too large to be a VMDK.
    pub data_bytes: Option<u64>,
    /// Why it cannot be read.
    pub obstacles: Vec<BadDisk>,
}

/// What an image says of itself.
#[derive(Debug)]
pub enum Facts {
    Raw { size: u64 },
    Qcow2(Header),
    Vmdk(Info),
}

/// Looks at an image without converting it.
///
/// # Errors
/// If it is no image, or too damaged to say what it is.
pub fn survey(path: &Path) -> Result<Survey> {
    let file = files::open(path)?;
    let look = || -> Result<(Facts, u64, Vec<BadDisk>), BadDisk> {
        let file_bytes = file.length()?;
        Ok(match image::kind(&file)? {
            ImageKind::Raw => (Facts::Raw { size: file_bytes }, file_bytes, Vec::new()),
            ImageKind::Qcow2 => {
                let header = Header::read(&file)?;
                let obstacles = header.obstacles();
                (Facts::Qcow2(header), file_bytes, obstacles)
            }
            ImageKind::Vmdk => {
                let info = vmdk::inspect(&file)?;
                let obstacles = info.obstacles();
                (Facts::Vmdk(info), file_bytes, obstacles)
            }
        })
    };
    let (facts, file_bytes, mut obstacles) = look().map_err(HostError::image(path))?;
    let mut data_bytes = None;
    if obstacles.is_empty() {
        let counted = open(path).and_then(|mut image| match image.size() {
            0..=vmdk::MOST_BYTES => image.data_bytes().map(Some).map_err(HostError::image(path)),
            _ => Ok(None),
        });
        match counted {
            Ok(counted) => data_bytes = counted,
            Err(HostError::Image { bad, .. }) => obstacles.push(bad),
            Err(other) => return Err(other),
        }
    }
    Ok(Survey { facts, file_bytes, data_bytes, obstacles })
}

/// Returns the file that a descriptor names. It must be in the descriptor's folder: whoever made the descriptor may not
/// choose what else of this machine is read.
fn beside(descriptor: &Path, name: &str) -> Result<std::path::PathBuf> {
    let folder = files::parent(descriptor);
    let mut parts = Path::new(name).components();
    let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    let path = folder.join(name);
    let leads_away =
        || files::canonicalize(&path).is_ok_and(|real| real.parent() != Some(&files::resolved(folder)));
    if !is_name || leads_away() {
        let bad = BadDisk::Unsupported(format!("the file {name:?}, which is not in its folder"));
        return Err(HostError::image(descriptor)(bad));
    }
    Ok(path)
}

/// Converts an image into a new disk. `progress` hears how many bytes of the source's disk are done, and of how many;
/// `cancelled` is asked again and again whether to stop.
///
/// When this returns an error, nothing new is left; when the process is killed, a file `NAME.part` may be, which the next
/// conversion to the same place takes away.
///
/// # Errors
/// If the source is no image that can be read, the target is there already or being written by another process, the
/// capacity is too small or too large, or a file operation fails.
pub fn convert(
    request: &Request,
    progress: &mut (dyn FnMut(u64, u64) + Send),
    cancelled: &dyn Fn() -> bool,
) -> Result<Converted> {
    let image = open(request.source)?;
    let capacity = capacity(request, image.size())?;
    let cid = request.cid.unwrap_or_else(|| rand::random_range(1..u32::MAX - 1));
    let target = Target::claim(request.target, request.format)?;
    let failed = |error| HostError::file("write", target.part())(error);
    let mut disk = Disk::begin(&target, request.format, capacity).map_err(failed)?;
    let mut data_bytes = 0;
    let mut write = |offset: u64, bytes: &[u8]| {
        data_bytes += bytes.len() as u64;
        let may = stand_in::before(Effect::Write(target.part(), bytes.len()));
        may.and_then(|()| disk.write(offset, bytes)).map_err(failed)
    };
    let unreadable = |bad| HostError::image(request.source)(bad);
    pipeline::run(image, unreadable, &mut write, progress, cancelled)?;
    disk.finish(&target, capacity, cid).map_err(failed)?;
    let file_bytes = target.place()?;
    Ok(Converted { capacity, data_bytes, file_bytes, cid })
}

fn capacity(request: &Request, size: u64) -> Result<u64> {
    let wished = request.capacity.unwrap_or(size);
    let capacity = vmdk::capacity_for(wished).ok().filter(|capacity| *capacity >= size);
    capacity.ok_or_else(|| HostError::Capacity { path: request.source.to_owned(), size, wished })
}

/// The disk while it is written.
enum Disk {
    Sparse(SparseWriter<File>),
    Flat(File),
}

impl Disk {
    fn begin(target: &Target, format: Format, capacity: u64) -> std::io::Result<Self> {
        let file = target.data().try_clone()?;
        Ok(match format {
            Format::Sparse => Self::Sparse(SparseWriter::new(file, capacity)?),
            Format::Flat => {
                file.set_len(capacity)?;
                Self::Flat(file)
            }
        })
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Sparse(writer) => writer.write(offset, bytes),
            Self::Flat(file) => file.put(offset, bytes),
        }
    }

    fn finish(self, target: &Target, capacity: u64, cid: u32) -> std::io::Result<()> {
        match self {
            Self::Sparse(writer) => writer.finish(&target.name(), cid, None).map(drop),
            Self::Flat(_) => target.descriptor(&vmdk::flat_descriptor(capacity, &target.data_name(), cid)),
        }
    }
}

#[cfg(test)]
mod tests;
