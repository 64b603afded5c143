//! What stands still on screen: the first line, the closing block, tables, errors. Pure: values to text.

pub mod backups;
pub mod closing;
pub mod confirm;
pub mod doctor;
pub mod document;
pub mod drill;
pub mod error;
pub mod exec;
pub mod junit;
pub mod kubeconfig;
pub mod logs;
pub mod names;
pub mod network_plan;
pub mod networks;
pub mod opening;
pub mod plan;
pub mod problems;
pub mod root;
pub mod runs;
pub mod status;
pub mod support;
pub mod table;
pub mod templates;
pub mod timings;
pub mod topology;
pub mod verify;
