//! Reading qcow2 images, which is what cloud images are (facts/vm-images-cloudinit.md §2.4).
//!
//! ```text
//! cluster 0   header                                                          header.rs
//!         …   level 1 table ──▶ level 2 tables ──▶ clusters, plain or compressed  map.rs
//! ```
//!
//! Reference counts and internal snapshots are passed over: they say nothing of the disk as it is now.

mod header;
mod map;

pub use header::{Compression, Header, MAGIC};
pub(super) use map::Qcow2Map;

#[cfg(test)]
pub(super) mod tests;
