//! The text part of a VMDK (facts/vm-images-cloudinit.md §2.2).

use super::header::{FLAG_COMPRESSED, Header};
use super::{BadDisk, Grains, Info, NO_PARENT, SECTOR};

/// `ddb.virtualHWVersion` of the disks we write: what Fusion 13 made first, and later ones read.
const HARDWARE_VERSION: &str = "20";
/// `ddb.toolsVersion` of a disk whose tools come from the distribution.
const TOOLS_VERSION: &str = "2147483647";
/// Geometry of disks that are not IDE; the cylinders stop counting at 65535.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;
const MOST_CYLINDERS: u64 = 65_535;

/// What a descriptor begins with.
const FIRST_LINE: &[u8] = b"# Disk DescriptorFile";

/// How a VMDK keeps its content: the descriptor's `createType`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    MonolithicSparse,
    MonolithicFlat,
    /// Compressed, for transport only.
    StreamOptimized,
    /// Another one, by its name.
    Other(String),
}

/// A file that holds a part of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub sectors: u64,
    /// `FLAT`, `SPARSE` or `ZERO`, in upper case.
    pub kind: String,
    /// Relative to the descriptor; empty for `ZERO`.
    pub file: String,
    /// Where in a `FLAT` file it begins, in sectors.
    pub offset: u64,
}

/// A descriptor's lines that mean something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) kind: Kind,
    pub(super) cid: u32,
    pub(super) parent_cid: u32,
    pub(super) parent_hint: Option<String>,
    pub(super) extents: Vec<Extent>,
    pub(super) adapter: Option<String>,
}

impl Kind {
    /// Returns the name that a descriptor has for it.
    pub fn name(&self) -> &str {
        match self {
            Self::MonolithicSparse => "monolithicSparse",
            Self::MonolithicFlat => "monolithicFlat",
            Self::StreamOptimized => "streamOptimized",
            Self::Other(name) => name,
        }
    }

    fn of(name: &str) -> Self {
        let known = [Self::MonolithicSparse, Self::MonolithicFlat, Self::StreamOptimized];
        let found = known.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl Descriptor {
    /// Returns the descriptor of a disk in one sparse file of this name.
    pub(super) fn sparse(sectors: u64, file: &str, cid: u32, parent: Option<(u32, &str)>) -> Self {
        let extent = Extent { sectors, kind: "SPARSE".to_owned(), file: file.to_owned(), offset: 0 };
        Self {
            kind: Kind::MonolithicSparse,
            cid,
            parent_cid: parent.map_or(NO_PARENT, |(cid, _)| cid),
            parent_hint: parent.map(|(_, hint)| hint.to_owned()),
            extents: vec![extent],
            adapter: Some("lsilogic".to_owned()),
        }
    }

    /// Returns the descriptor of a disk whose bytes are in one raw file.
    pub(super) fn flat(sectors: u64, file: &str, cid: u32) -> Self {
        let extent = Extent { sectors, kind: "FLAT".to_owned(), file: file.to_owned(), offset: 0 };
        Self { kind: Kind::MonolithicFlat, extents: vec![extent], ..Self::sparse(sectors, file, cid, None) }
    }

    /// Says whether a text, or a binary file, begins as a descriptor does.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        let bytes = bytes.trim_ascii_start();
        bytes.get(..FIRST_LINE.len()).is_some_and(|line| line.eq_ignore_ascii_case(FIRST_LINE))
    }

    /// Reads a descriptor, up to its first zero byte.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadDisk> {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        if !Self::begins(bytes) {
            return Err(BadDisk::NotADisk("it has no VMDK descriptor"));
        }
        let mut kind = None;
        let mut cid = None;
        let mut parent_cid = NO_PARENT;
        let (mut parent_hint, mut adapter, mut extents) = (None, None, Vec::new());
        let number = |value: &str| {
            u32::from_str_radix(value, 16).map_err(|_| BadDisk::corrupt(format!("a CID of {value:?}")))
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(extent) = extent(line)? {
                extents.push(extent);
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "cid" => cid = Some(number(value)?),
                "parentcid" => parent_cid = number(value)?,
                "createtype" => kind = Some(Kind::of(value)),
                "parentfilenamehint" => parent_hint = Some(value.to_owned()),
                "ddb.adaptertype" => adapter = Some(value.to_owned()),
                _ => {}
            }
        }
        let kind = kind.ok_or_else(|| BadDisk::corrupt("the descriptor has no createType"))?;
        let cid = cid.ok_or_else(|| BadDisk::corrupt("the descriptor has no CID"))?;
        Ok(Self { kind, cid, parent_cid, parent_hint, extents, adapter })
    }

    /// Returns the text.
    pub(super) fn render(&self) -> String {
        let sectors: u64 = self.extents.iter().map(|extent| extent.sectors).sum();
        let cylinders = (sectors / (HEADS * SECTORS_PER_TRACK)).min(MOST_CYLINDERS);
        let hint = self.parent_hint.as_ref().map(|hint| format!("parentFileNameHint=\"{hint}\"\n"));
        let extents: String = self
            .extents
            .iter()
            .map(|Extent { sectors, kind, file, offset }| {
                let offset = if kind == "FLAT" { format!(" {offset}") } else { String::new() };
                format!("RW {sectors} {kind} \"{file}\"{offset}\n")
            })
            .collect();
        format!(
            "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID={:08x}\nparentCID={:08x}\n\
             createType=\"{}\"\n{}\n# Extent description\n{extents}\n# The Disk Data Base\n#DDB\n\n\
             ddb.virtualHWVersion = \"{HARDWARE_VERSION}\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"{HEADS}\"\nddb.geometry.sectors = \"{SECTORS_PER_TRACK}\"\n\
             ddb.adapterType = \"{}\"\nddb.toolsVersion = \"{TOOLS_VERSION}\"\n",
            self.cid,
            self.parent_cid,
            self.kind.name(),
            hint.unwrap_or_default(),
            self.adapter.as_deref().unwrap_or("lsilogic"),
        )
    }

    /// Returns what a disk with this header says of itself.
    pub(super) fn into_info(self, header: &Header) -> Info {
        let grains = Grains { bytes: header.grain(), are_compressed: header.flags & FLAG_COMPRESSED != 0 };
        Info { grains: Some(grains), ..self.into_info_of(header.capacity()) }
    }

    /// Returns what a disk says of itself whose descriptor stands alone.
    pub(super) fn into_info_of_text(self) -> Result<Info, BadDisk> {
        let sectors = self.extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.sectors));
        let capacity = sectors.and_then(|sectors| sectors.checked_mul(SECTOR));
        let capacity = capacity
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or_else(|| BadDisk::corrupt("the extents are larger than any disk"))?;
        Ok(self.into_info_of(capacity))
    }

    fn into_info_of(self, capacity: u64) -> Info {
        let parent_cid = Some(self.parent_cid).filter(|cid| *cid != NO_PARENT);
        let Self { kind, cid, parent_hint, extents, adapter, .. } = self;
        Info { kind, capacity, cid, parent_cid, parent_hint, extents, adapter, grains: None }
    }
}

/// Reads `RW 83886080 FLAT "disk-flat.vmdk" 0`; none if the line is not an extent's.
fn extent(line: &str) -> Result<Option<Extent>, BadDisk> {
    let (head, quoted) = line.split_once('"').unwrap_or((line, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let [access, sectors, kind] = words[..] else { return Ok(None) };
    if !["RW", "RDONLY", "NOACCESS"].iter().any(|known| known.eq_ignore_ascii_case(access)) {
        return Ok(None);
    }
    let bad = || BadDisk::corrupt(format!("the extent {line:?}"));
    let (file, offset) = quoted.split_once('"').unwrap_or_default();
    let offset = match offset.trim() {
        "" => 0,
        offset => offset.parse().map_err(|_| bad())?,
    };
    let sectors = sectors.parse().map_err(|_| bad())?;
    Ok(Some(Extent { sectors, kind: kind.to_ascii_uppercase(), file: file.to_owned(), offset }))
}
