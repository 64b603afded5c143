//! What real guests of every kind stand on: networks, the internet behind the home router, and who takes them down.

use std::io;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::image::GuestImage;
use super::keeper::Keeper;
use super::net::{Net, Present};
use super::prefix::Prefix;
use super::{internet, needs};
use crate::sim::places::Places;
use crate::sim::seam::{self, Wire};
use crate::sim::settings::{Guests, Settings};

/// The ground under one world's guests.
pub struct Base {
    pub prefix: Prefix,
    pub image: GuestImage,
    pub net: Arc<Net>,
    internet: Option<JoinHandle<()>>,
    /// Machines of the home's own.
    _strangers: Vec<Present>,
    /// Taken when the world leaves.
    keeper: Mutex<Option<Keeper>>,
}

impl Base {
    /// Collects what a killed world left, and makes what guests stand on.
    ///
    /// # Errors
    /// If something is missing ([`needs`]), no guest image is set, or the networks cannot be made.
    pub async fn begin(places: &Places, settings: &Settings, guests: Guests) -> io::Result<Self> {
        needs::check(guests)
            .map_err(|missing| io::Error::new(io::ErrorKind::Unsupported, needs::sentence(&missing)))?;
        let folder = settings.image.as_deref().ok_or_else(|| {
            let said = "real guests need a guest image, and the simulated Fusion's settings name none; build one with: \
                        fusionlab sim image build";
            io::Error::new(io::ErrorKind::NotFound, said)
        })?;
        let image = GuestImage::open(folder)?;
        let prefix = Prefix::of(places)?;
        let keeper = Keeper::begin(places, &prefix).await?;
        let net = Net::begin(prefix.clone(), places, settings.lan).await?;
        let internet = settings.internet.then(|| net.router()).transpose()?.map(|sockets| {
            let image = image.clone();
            tokio::spawn(async move {
                if let Err(error) = internet::serve(image, sockets).await {
                    eprintln!("vmware-vmx: the simulated internet ended: {error}");
                }
            })
        });
        let mut strangers = Vec::new();
        for stranger in &settings.strangers {
            strangers.push(net.stranger(stranger).await?);
        }
        Ok(Self { prefix, image, net, internet, _strangers: strangers, keeper: Mutex::new(Some(keeper)) })
    }

    /// Opens a connection as the Mac.
    pub async fn dial(&self, to: SocketAddrV4) -> io::Result<Wire> {
        Ok(seam::wire(self.net.dial(to).await?))
    }

    /// Takes the networks down, with every process of the prefix.
    pub async fn take_down(&self) {
        if let Some(internet) = &self.internet {
            internet.abort();
        }
        self.net.leave().await;
    }

    /// Lets the keeper go: all is taken down.
    pub async fn dismiss_keeper(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.dismiss().await
        {
            eprintln!("vmware-vmx: {error}");
        }
    }
}
