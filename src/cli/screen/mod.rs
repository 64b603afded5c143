//! What stands still on screen: the first line, the closing block, tables, errors. Pure: values to text.

pub mod closing;
pub mod confirm;
pub mod error;
pub mod networks;
pub mod opening;
pub mod plan;
pub mod problems;
pub mod root;
pub mod status;
pub mod table;
pub mod timings;
pub mod verify;
