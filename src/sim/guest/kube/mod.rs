//! The model's Kubernetes: one cluster's state on its members' disks, and the programs that work on it.
//!
//! ```text
//! data, resources, objects   what etcd holds and how the API server lets it change
//! cluster                    who holds it, quorum, writing it to the members' disks
//! pki, aging                 certificates, and how they grow old
//! api, client                TLS and HTTP at both ends of a real connection
//! config, preflight, phases, init, join   kubeadm
//! kubelet                    static pods, the node object, pods' starts
//! controllers, gateway       what Kubernetes and Cilium make of the objects
//! routes, podnet, envoy      how packets get to pods, and who answers on NodePorts
//! ```

pub mod aging;
pub mod api;
pub mod client;
pub mod cluster;
pub mod config;
pub mod controllers;
pub mod data;
pub mod envoy;
pub mod gateway;
pub mod images;
pub mod init;
pub mod join;
pub mod kubelet;
pub mod objects;
pub mod phases;
pub mod pki;
pub mod podnet;
pub mod pods;
pub mod preflight;
pub mod resources;
pub mod routes;
