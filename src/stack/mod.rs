//! What runs in the guests, as values: the files of every machine and the argv of every guest command.
//!
//! Pure: from a [`Lab`](crate::lab::Lab) and its [`Identity`](identity::Identity) to bytes. One file per tool.

pub mod bake;
pub mod certificates;
pub mod checks;
pub mod cilium;
pub mod cloud_init;
pub mod dns;
pub mod drill;
pub mod facts;
pub mod file;
#[cfg(test)]
pub mod fixture;
pub mod gateway;
pub mod gateway_api;
#[cfg(test)]
mod hostile;
pub mod identity;
pub mod ingress;
pub mod judge;
pub mod keepalived;
pub mod kubeadm;
pub mod kubeconfig;
pub mod kubectl;
pub mod lan;
pub mod leaks;
pub mod logs;
pub mod network;
pub mod nginx;
pub mod node;
pub mod pki;
mod render;
pub mod resources;
pub mod runtime;
pub mod secrets;
pub mod ssh_config;
pub mod support;
pub mod units;
pub mod validity;
pub mod vips;
pub mod vm;
