//! The files of Fusion's DHCP and NAT services: `dhcpd.conf`, `nat.conf` and the leases.

mod conf;
mod leases;
mod time;

pub use conf::{DhcpdConf, Host, NatConf, hosts, pool};
pub use leases::{Lease, apple_leases, leases, newest_valid};
