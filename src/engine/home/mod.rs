//! What is kept on this Mac's disk between runs: whose it is, who may work on it, and what a killed run has left of it.
//!
//! ```text
//! records.rs ─── store.rs      a lab's identity            lab_lock.rs   one run at a time
//!     │    ├──── made_from.rs  what it was made from       lab_folder.rs what in its folder is ours
//!     │    ├──── networks.rs   our lines in Fusion's file  recovery.rs   what an earlier run was at
//!     │    └──── costs.rs      what steps took
//! labs.rs: every lab of this Mac                           leftovers.rs  what killed runs left, `doctor`'s
//! ```

pub mod costs;
pub mod lab_folder;
pub mod lab_lock;
pub mod labs;
pub mod leftovers;
pub mod made_from;
pub mod networks;
pub mod records;
pub mod recovery;
pub mod store;
pub mod support;
