//! VMs as Fusion has them on disk: the lab's own by its marks, and everybody's.

pub mod bundle;
pub mod library;
