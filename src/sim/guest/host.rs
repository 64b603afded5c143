//! What a model does to the machine that it is: a seam, so that it can also stand for a machine that is real.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::Ipv4Net;

use super::state::Disk;
use super::{Model, services, units};
use crate::sim::seam::Wire;

/// A machine's body, as the model's Kubernetes needs it.
#[async_trait]
pub trait Host: Send + Sync {
    /// Starts a unit; an error is what its control process said.
    async fn start(&self, model: &Arc<Model>, unit: &str) -> Result<(), String>;

    /// Stops a unit; returns once it is stopped.
    async fn stop(&self, model: &Arc<Model>, unit: &str);

    /// Sets the kernel's route to a part of the pod network, or takes it away.
    async fn route(&self, model: &Arc<Model>, part: Ipv4Net, via: Option<Ipv4Addr>);

    /// Opens a TCP connection from the machine, to itself or to another.
    async fn connect(&self, model: &Arc<Model>, to: SocketAddrV4) -> io::Result<Wire>;

    /// Says whether something listens on a port now.
    fn listens(&self, model: &Model, port: u16) -> bool;

    /// Makes the disk's changes last. Where that takes time, [`Self::flush`] waits for it.
    fn save(&self, model: &Model, disk: &Disk) -> io::Result<()>;

    /// Waits until what was saved lasts.
    async fn flush(&self, model: &Model);

    /// A unit said something, which stands in the model's journal already.
    fn logged(&self, unit: &str, line: &str);
}

/// A machine that is nothing but its model.
pub struct Modelled;

#[async_trait]
impl Host for Modelled {
    async fn start(&self, model: &Arc<Model>, unit: &str) -> Result<(), String> {
        units::start_modelled(model, unit).await
    }

    async fn stop(&self, model: &Arc<Model>, unit: &str) {
        units::stop_modelled(model, unit).await;
    }

    async fn route(&self, model: &Arc<Model>, part: Ipv4Net, via: Option<Ipv4Addr>) {
        model.live(|live| match via {
            Some(via) => drop(live.pod_routes.insert(part, via)),
            None => drop(live.pod_routes.remove(&part)),
        });
    }

    async fn connect(&self, model: &Arc<Model>, to: SocketAddrV4) -> io::Result<Wire> {
        services::connect_modelled(model, to).await
    }

    fn listens(&self, model: &Model, port: u16) -> bool {
        services::modelled_port(model, port)
    }

    fn save(&self, model: &Model, disk: &Disk) -> io::Result<()> {
        model.around.save(&disk.write())
    }

    async fn flush(&self, _: &Model) {}

    fn logged(&self, _: &str, _: &str) {}
}
