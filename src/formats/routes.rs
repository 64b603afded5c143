//! The host's routes, as `netstat -rn -f inet` of macOS prints them.

use ipnet::Ipv4Net;
use serde::Serialize;

/// One IPv4 route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// 0.0.0.0/0 is the default route.
    pub destination: Ipv4Net,
    /// An address, or what stands for a direct link, such as `link#22`.
    pub gateway: String,
    /// Such as `en0`, `utun4`, `bridge100`.
    pub interface: String,
}
