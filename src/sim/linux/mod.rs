//! Real guests: on Linux, as root, a VM of the simulated Fusion is a real Debian system.
//!
//! ```text
//! net       namespaces, bridges, NAT, DHCP: Fusion's networks and the home LAN
//! internet  what the home router leads to: names, time, and the downloads of a bake
//! layers    which folders of files a virtual disk stands for
//! guest     a system in namespaces: systemd as its first process, over an overlay of the image
//! qemu      the same VMX as a machine of QEMU
//! image     the Debian system that all start from
//! ```
