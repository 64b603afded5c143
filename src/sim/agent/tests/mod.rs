//! The chain from a stand-in to the model and back, with temporary folders as guests and loopback addresses as their
//! networks.

mod chain;
mod guest;
