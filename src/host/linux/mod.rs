//! What only Linux can do; elsewhere each call says that it is not supported.

pub mod netns;
pub mod terminal;
