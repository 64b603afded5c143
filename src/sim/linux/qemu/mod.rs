//! A VM of the simulated Fusion as a machine of QEMU: the same VMX, the same VMDK, the same seed, real firmware.
//!
//! ```text
//! VMX ─ devices.rs, arguments.rs ─▶ qemu-system-x86_64, in the Mac's namespace, its cards taps on Net's bridges
//!                                     │ stdin, stdout: orders and events (qmp.rs)
//! machine.rs: one machine's life  ◀───┤
//!                                     │ stderr: the serial port, and QEMU's own complaints (console.rs)
//! ```
//!
//! Slower by far than a system in namespaces, but the only kind that proves what hardware decides: how cards are named, how
//! the seed's CD is found, that our disks boot. There is no USB and no screen, and the firmware is not Fusion's.

mod accelerator;
mod arguments;
mod console;
mod devices;
mod machine;
mod qmp;

use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use self::arguments::Accelerator;
use self::machine::Machine;
use super::base::Base;
use crate::sim::agent::{self, Machines};
use crate::sim::guest::Commons;
use crate::sim::links::Links;
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::seam::{Body, Kind, Made, Surroundings, Wire};
use crate::sim::settings::{Guests, Settings};

const QEMU: &str = "qemu-system-x86_64";
/// How long machines whose plug was pulled may take to be tidied away.
const TIDYING: Duration = Duration::from_secs(10);

/// The kind of machines that QEMU runs.
pub struct Qemu {
    ground: Arc<Ground>,
    /// Lets stand-ins in.
    serving: JoinHandle<()>,
}

/// What all machines stand on.
struct Ground {
    base: Base,
    places: Places,
    accelerator: OnceCell<Accelerator>,
    /// Machines that have power, or are being tidied away.
    lives: TaskTracker,
    /// How many machines there were.
    count: AtomicU32,
    /// By which the Kubernetes of machines find each other.
    commons: Arc<Commons>,
    /// By which stand-ins find their machine's.
    machines: Arc<Machines>,
}

impl Qemu {
    /// Collects what a killed world left, and makes what the machines stand on.
    ///
    /// # Errors
    /// If something is missing, no guest image is set, or the networks cannot be made.
    pub async fn begin(places: &Places, settings: &Settings) -> io::Result<Arc<Self>> {
        let base = Base::begin(places, settings, Guests::Qemu).await?;
        let listener = base.net.listen(agent::PORT)?;
        listener.set_nonblocking(true)?;
        let machines = Arc::new(Machines::default());
        let serving = tokio::spawn(machines.clone().serve(TcpListener::from_std(listener)?));
        let ground = Ground {
            base,
            places: places.clone(),
            accelerator: OnceCell::new(),
            lives: TaskTracker::new(),
            count: AtomicU32::new(0),
            commons: Arc::default(),
            machines,
        };
        Ok(Arc::new(Self { ground: Arc::new(ground), serving }))
    }
}

impl Ground {
    async fn accelerator(&self) -> Accelerator {
        *self.accelerator.get_or_init(accelerator::find).await
    }

    /// Returns the folder of a new machine's control group.
    fn cgroup(&self) -> io::Result<PathBuf> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        Ok(self.base.prefix.cgroup()?.join(format!("qemu{number}")))
    }
}

#[async_trait]
impl Kind for Qemu {
    fn make(&self, body: Body, around: Arc<dyn Surroundings>) -> Made {
        let machine = Machine::new(self.ground.clone(), body, around);
        let kind = machine.kube().model();
        Made { machine, kind }
    }

    async fn apply(&self, networks: &Networks) -> io::Result<()> {
        self.ground.base.net.apply(networks).await
    }

    async fn link(&self, links: &Links) -> io::Result<()> {
        self.ground.base.net.link(links).await
    }

    async fn dial(&self, to: SocketAddrV4) -> Option<io::Result<Wire>> {
        Some(self.ground.base.dial(to).await)
    }

    async fn leave(&self) {
        self.serving.abort();
        self.ground.lives.close();
        // What is not tidied away by then, the networks take with them: every process of the prefix is ended.
        let _ = tokio::time::timeout(TIDYING, self.ground.lives.wait()).await;
        self.ground.base.take_down().await;
        self.ground.base.dismiss_keeper().await;
    }
}
