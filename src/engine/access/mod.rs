//! The user's own ways into a lab, outside its folder: `ssh`, `kubectl`, and the lab's names.

pub mod kubeconfig;
pub mod names;
pub mod ssh_files;
