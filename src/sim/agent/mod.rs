//! Kubernetes in real guests: stand-ins for its programs there, and the strict model that answers them in the world.
//!
//! ```text
//!           guest (real systemd, sshd, nginx, …)        ┊            world
//! kubeadm, kubectl, helm, crictl ─ client ─┐            ┊  ┌─ serve ─▶ the model's own tools
//! kubelet, containerd ─────────── client ─┼─ world.sock ┊──┤  daemons: units, ports, the hands
//! containerd-shim: 6443, 2379, … ─ client ─┘  protocol  ┊  └─ port ─▶ the model's services
//!        files ◀── observed, written ── any root's link ┊──── shadow: the model's disk and memory follow the guest
//!        sockets ◀─────────────── Dialler ──────────────┊──── body: what the model would do to itself is done there
//! ```
//!
//! A *shadow* is a [`Model`] of which only Kubernetes is used. Before a tool runs, it is told what the guest's files
//! say; what the tool changes is written into the guest, so that snapshots, clones and lost power act on it.

pub mod packages;
pub mod protocol;

mod away;
mod body;
mod client;
mod daemons;
mod link;
mod serve;
mod shadow;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use super::guest::kube::kubelet;
use super::guest::services::Stream;
use super::guest::{Commons, Model, lock};
use super::seam::{Hardware, Machine, Segment, Surroundings};
pub use away::Machines;
use body::Body;

/// Every program that this binary stands in for in a guest.
pub const NAMES: &[&str] = &[
    "kubeadm",
    "kubelet",
    "kubectl",
    "crictl",
    "helm",
    "containerd",
    "containerd-shim-runc-v2",
    "vmware-rpctool",
];

/// Where this binary lies in a guest; the stand-ins are links to it.
pub const PROGRAM: &str = "/usr/lib/fusionlab-sim/fusionlab";

/// Where the stand-ins find the world.
pub const SOCKET: &str = "/run/fusionlab-sim/world.sock";

/// Says in a guest without [`SOCKET`] where the world is and which machine this is: an address and port, then the
/// machine's `product_uuid`, each on a line. Its image's `join.sh` writes it at every start.
pub const AWAY: &str = "/run/fusionlab-sim/machine";

/// The world's port for machines that say who they are.
pub const PORT: u16 = 4080;

/// How the model's own connections leave a guest: from its network namespace.
#[async_trait]
pub trait Dialler: Send + Sync {
    /// Opens a TCP connection as the guest.
    async fn connect(&self, to: SocketAddrV4) -> io::Result<Box<dyn Stream>>;

    /// Returns the addresses that the guest holds now.
    fn addresses(&self) -> Vec<(Segment, Ipv4Addr)>;
}

/// One guest's Kubernetes in the world.
pub struct Kube {
    hardware: Hardware,
    around: Arc<dyn Surroundings>,
    dialler: Arc<dyn Dialler>,
    commons: Arc<Commons>,
    life: Mutex<Arc<Life>>,
}

/// A guest from power on to off: what it knows ends with it.
struct Life {
    model: Arc<Model>,
    body: Arc<Body>,
    /// What keeps it up to date runs.
    begun: AtomicBool,
    /// Held while the shim is told its ports.
    ports: tokio::sync::Mutex<()>,
    /// What the shim listens on.
    told: Mutex<BTreeSet<SocketAddrV4>>,
    /// A shim was asked for and has not come yet.
    spawning: AtomicBool,
}

impl Kube {
    /// Makes a guest's Kubernetes; it knows nothing until the guest's programs come to it.
    pub fn new(
        hardware: Hardware,
        around: Arc<dyn Surroundings>,
        dialler: Arc<dyn Dialler>,
        commons: Arc<Commons>,
    ) -> Arc<Self> {
        let life = Mutex::new(Life::new(&hardware, &around, &dialler, &commons));
        Arc::new(Self { hardware, around, dialler, commons, life })
    }

    /// Returns the model that shadows the guest.
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&lock(&self.life).model)
    }

    /// Serves one connection of a stand-in, up to its end.
    pub async fn serve<S>(self: Arc<Self>, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let life = Arc::clone(&lock(&self.life));
        life.begin_once();
        if let Err(error) = life.serve(stream).await
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            life.model.log("fusionlab-sim", format!("a stand-in's connection broke: {error}"));
        }
    }

    /// The guest's time stands still, or goes on. While it does not, its etcd is no member that answers.
    pub fn freeze(&self, frozen: bool) {
        let model = self.model();
        let (cluster, runs) = model.live(|live| (live.cluster.clone(), live.static_pods.contains("etcd")));
        let member = model.disk(|disk| disk.etcd.as_ref().map(|etcd| etcd.name.clone()));
        if let (Some(cluster), Some(member), true) = (cluster, member, runs) {
            match frozen {
                true => cluster.member_down(&member),
                false => kubelet::member_up(&cluster, &member, &model),
            }
            model.commons.announce();
        }
    }

    /// The guest lost its power: what was not written into it is gone. A guest that starts again begins anew.
    pub fn power_lost(&self) {
        let next = Life::new(&self.hardware, &self.around, &self.dialler, &self.commons);
        let life = std::mem::replace(&mut *lock(&self.life), next);
        life.model.pull_plug();
        life.body.close();
    }
}

impl Life {
    fn new(
        hardware: &Hardware,
        around: &Arc<dyn Surroundings>,
        dialler: &Arc<dyn Dialler>,
        commons: &Arc<Commons>,
    ) -> Arc<Self> {
        let body = Body::new(Arc::clone(dialler));
        let model = Model::shadow(hardware.clone(), Arc::clone(around), Arc::clone(commons), body.clone());
        Arc::new(Self {
            model,
            body,
            begun: AtomicBool::new(false),
            ports: tokio::sync::Mutex::default(),
            told: Mutex::default(),
            spawning: AtomicBool::new(false),
        })
    }

    /// Starts what keeps guest and shadow together, once the guest's first program has come.
    fn begin_once(self: &Arc<Self>) {
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        self.model.spawn(Arc::clone(self).keep_ports());
        let life = Arc::clone(self);
        self.model.spawn(async move {
            loop {
                life.body.wait_for_save().await;
                life.model.host.flush(&life.model).await;
            }
        });
    }
}

/// Runs the program that this process was started as, if it is a stand-in's name in a guest.
pub fn run_as_called() -> Option<ExitCode> {
    client::run_as_called()
}
