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

pub mod guest;
pub mod image;
pub mod internet;
pub mod layers;
pub mod needs;
pub mod net;
pub mod prefix;
pub mod qemu;

mod base;
mod cgroup;
mod keeper;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddrV4;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use async_trait::async_trait;

use super::links::Links;
use super::network::Networks;
use super::places::Places;
use super::seam::{Body, Kind, Made, Surroundings, Wire};
use super::settings::{Guests, Settings};
use super::{files, pace};
use base::Base;
use guest::{Ground, Guest};
use image::GuestImage;
use layers::Layers;

/// The kind of machines that are real systems in namespaces.
pub struct Linux {
    base: Base,
    ground: Arc<Ground>,
    places: Places,
}

impl Linux {
    /// Collects what a killed world left, and makes what the machines stand on.
    ///
    /// # Errors
    /// If something is missing ([`needs`]), no guest image is set, or the networks cannot be made.
    pub async fn begin(places: &Places, settings: &Settings) -> io::Result<Arc<Self>> {
        let base = Base::begin(places, settings, Guests::Linux).await?;
        let layers = lay_out(places, &base.image)?;
        let guests = places.run().join("guests");
        files::remove(&guests)?;
        let program = std::env::current_exe()?;
        let folders = (guests, base.prefix.cgroup()?, program);
        let ground = Ground::new(base.net.clone(), base.image.key.clone(), layers, folders);
        Ok(Arc::new(Self { base, ground, places: places.clone() }))
    }
}

/// Makes the folder of layers, and removes those that no disk needs any more.
fn lay_out(places: &Places, image: &GuestImage) -> io::Result<Arc<Layers>> {
    let layers = Layers::new(places.root().join("var/lib/layers"));
    files::make_folder(layers.folder())?;
    let link = layers.folder().join(guest::image_link(&image.key));
    files::remove(&link)?;
    symlink(image.rootfs(), &link)?;
    layers.collect(&places.library());
    Ok(layers)
}

#[async_trait]
impl Kind for Linux {
    fn make(&self, body: Body, around: Arc<dyn Surroundings>) -> Made {
        let guest = Guest::new(body, around, self.ground.clone());
        let kind = guest.kube().model();
        Made { machine: guest, kind }
    }

    async fn apply(&self, networks: &Networks) -> io::Result<()> {
        self.base.net.apply(networks).await
    }

    async fn link(&self, links: &Links) -> io::Result<()> {
        self.base.net.link(links).await
    }

    async fn dial(&self, to: SocketAddrV4) -> Option<io::Result<Wire>> {
        Some(self.base.dial(to).await)
    }

    async fn leave(&self) {
        self.ground.tasks.close();
        tokio::select! {
            () = self.ground.tasks.wait() => {}
            () = pace::wait(guest::LEAVING) => eprintln!("vmware-vmx: not every guest ended; all are killed now"),
        }
        self.base.take_down().await;
        self.ground.layers.collect(&self.places.library());
        self.base.dismiss_keeper().await;
    }
}
