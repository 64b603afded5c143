//! Bytes and text that other programs read and write, with no knowledge of labs.
//!
//! Everything here is pure: values in, values out. Disk formats speak the traits of [`block`], never paths.

pub mod block;
pub mod command;
pub mod dhcp;
pub mod dns;
pub mod figures;
pub mod file_lock;
pub mod hardware_ports;
pub mod image;
pub mod kubeconfig;
pub mod lines;
pub mod mac;
pub mod mail_time;
pub mod memory;
pub mod neighbours;
pub mod network_services;
pub mod networking;
pub mod openpgp;
pub mod openssh;
pub mod power;
pub mod printable;
pub mod proc_net;
pub mod qcow2;
pub mod resolver;
pub mod routes;
pub mod seed_iso;
pub mod tar;
#[cfg(test)]
pub(crate) mod test_tools;
pub mod unpack;
pub mod user_data;
pub mod vmdk;
pub mod vmx;
