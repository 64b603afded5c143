//! What all guests of one world stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;

use crate::sim::agent::Dialler;
use crate::sim::guest::services::Stream;
use crate::sim::guest::{Commons, lock};
use crate::sim::linux::layers::Layers;
use crate::sim::linux::net::{Net, Plug};
use crate::sim::places::vm_name;
use crate::sim::seam::Segment;

/// One world's ground.
pub struct Ground {
    pub net: Arc<Net>,
    /// The key of the image that all guests start from.
    pub image: String,
    pub layers: Arc<Layers>,
    /// Where guests' folders are while they have power.
    pub guests: PathBuf,
    /// The control group of this world.
    pub cgroup: PathBuf,
    /// This very binary, which stands in for Kubernetes' programs in guests.
    pub program: PathBuf,
    pub commons: Arc<Commons>,
    /// Guests that have not taken everything down yet.
    pub tasks: TaskTracker,
    /// By VMX: held by the machine that has its disk, up to its last moment.
    seats: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    names: Mutex<BTreeSet<String>>,
}

impl Ground {
    pub fn new(
        net: Arc<Net>,
        image: String,
        layers: Arc<Layers>,
        (guests, cgroup, program): (PathBuf, PathBuf, PathBuf),
    ) -> Arc<Self> {
        Arc::new(Self {
            net,
            image,
            layers,
            guests,
            cgroup,
            program,
            commons: Arc::default(),
            tasks: TaskTracker::new(),
            seats: Mutex::default(),
            names: Mutex::default(),
        })
    }

    /// Waits until the machine before this one has let go of the same VM.
    pub async fn seat(&self, vmx: &Path) -> OwnedMutexGuard<()> {
        let seat = lock(&self.seats).entry(vmx.to_owned()).or_default().clone();
        seat.lock_owned().await
    }

    /// Returns a name that no other guest has now, of the kernel's and the shell's plainest letters.
    pub fn name(self: &Arc<Self>, vmx: &Path) -> Name {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        let name: String = vm_name(vmx).chars().map(plain).take(40).collect();
        let mut names = lock(&self.names);
        let mut candidates =
            (1..).map(|count| if count == 1 { name.clone() } else { format!("{name}-{count}") });
        let free = candidates
            .find(|name| !names.contains(name))
            .expect("the numbers do not end before the guests do");
        names.insert(free.clone());
        Name { ground: self.clone(), name: free }
    }
}

/// A guest's name, its own while this lives.
pub struct Name {
    ground: Arc<Ground>,
    pub name: String,
}

impl Drop for Name {
    fn drop(&mut self) {
        lock(&self.ground.names).remove(&self.name);
    }
}

/// A guest's cards while it has power.
#[derive(Default)]
pub struct Wiring {
    plug: Mutex<Option<Arc<Plug>>>,
}

impl Wiring {
    pub fn set(&self, plug: Option<Arc<Plug>>) {
        *lock(&self.plug) = plug;
    }

    fn plug(&self) -> Option<Arc<Plug>> {
        lock(&self.plug).clone()
    }
}

#[async_trait]
impl Dialler for Wiring {
    async fn connect(&self, to: SocketAddrV4) -> io::Result<Box<dyn Stream>> {
        let plug = self.plug().ok_or(io::ErrorKind::NetworkUnreachable)?;
        Ok(Box::new(plug.connect(to).await?))
    }

    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)> {
        self.plug().map(|plug| plug.addresses()).unwrap_or_default()
    }
}
