//! The files of Fusion's DHCP and NAT services: `dhcpd.conf`, `nat.conf` and the leases.

mod conf;
mod isc;
mod leases;
mod nat;
mod time;

pub use conf::{DhcpdConf, pool};
pub use isc::{Host, Subnet, hosts, subnets};
pub use leases::{Lease, apple_leases, leases, newest_valid, valid};
pub use nat::{NatConf, NatFile, nat_forwards};
