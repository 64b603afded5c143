//! A real guest as its shadow's body: units by systemctl, connections by the dialler, files by whoever is root there.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use tokio::sync::{Notify, futures::Notified};

use super::Dialler;
use super::link::Link;
use super::shadow::Shadow;
use crate::sim::guest::host::Host;
use crate::sim::guest::live::UnitState;
use crate::sim::guest::state::Disk;
use crate::sim::guest::{Model, lock, services};
use crate::sim::seam::{self, Wire};

/// How long a unit's stand-in may take to be gone once systemd says that it is.
const GONE: Duration = Duration::from_secs(5);

/// The stand-ins that run for as long as their unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    Kubelet,
    Containerd,
    Shim,
}

impl Daemon {
    pub fn unit(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::Shim => "containerd-shim",
        }
    }
}

/// One guest from power on to off.
pub struct Body {
    pub dialler: Arc<dyn Dialler>,
    /// Held while the guest's files are looked at or written, so that neither sees half of the other.
    shadow: tokio::sync::Mutex<Shadow>,
    /// Root's connections: any of them can read and write the guest's files.
    hands: Mutex<Vec<Arc<Link>>>,
    daemons: Mutex<[Option<Arc<Link>>; 3]>,
    /// A daemon came or went.
    changed: Notify,
    listening: Mutex<BTreeSet<u16>>,
    /// Something was saved.
    saved: Notify,
    me: Weak<Body>,
}

impl Body {
    pub fn new(dialler: Arc<dyn Dialler>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            dialler,
            shadow: tokio::sync::Mutex::default(),
            hands: Mutex::default(),
            daemons: Mutex::default(),
            changed: Notify::new(),
            listening: Mutex::default(),
            saved: Notify::new(),
            me: me.clone(),
        })
    }

    /// Takes a connection of root's for as long as it lasts. A daemon's lasts longest, so it is asked first.
    pub fn add_hand(&self, link: &Arc<Link>, daemon: bool) {
        let mut hands = lock(&self.hands);
        hands.retain(|hand| !hand.is_closed());
        let place = if daemon { 0 } else { hands.len() };
        hands.insert(place, Arc::clone(link));
    }

    pub fn remove_hand(&self, link: &Arc<Link>) {
        lock(&self.hands).retain(|hand| !Arc::ptr_eq(hand, link) && !hand.is_closed());
    }

    fn hands(&self) -> Vec<Arc<Link>> {
        lock(&self.hands).iter().filter(|hand| !hand.is_closed()).cloned().collect()
    }

    pub fn daemon(&self, daemon: Daemon) -> Option<Arc<Link>> {
        lock(&self.daemons)[daemon as usize].clone().filter(|link| !link.is_closed())
    }

    /// Sets who a daemon is now.
    pub fn set_daemon(&self, daemon: Daemon, link: &Arc<Link>) {
        lock(&self.daemons)[daemon as usize] = Some(Arc::clone(link));
        self.changed.notify_waiters();
    }

    /// Forgets a daemon that went; false if another has taken its place already.
    pub fn remove_daemon(&self, daemon: Daemon, link: &Arc<Link>) -> bool {
        let mut daemons = lock(&self.daemons);
        let slot = &mut daemons[daemon as usize];
        let same = slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, link));
        if same {
            *slot = None;
        }
        drop(daemons);
        self.changed.notify_waiters();
        same
    }

    /// Returns what waits until a daemon comes or goes, from this moment on.
    pub fn news(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Ends every connection: the power is gone.
    pub fn close(&self) {
        for link in lock(&self.hands).drain(..) {
            link.close();
        }
        for link in lock(&self.daemons).iter_mut().filter_map(Option::take) {
            link.close();
        }
        self.changed.notify_waiters();
    }

    /// Waits until something is saved.
    pub async fn wait_for_save(&self) {
        self.saved.notified().await;
    }

    /// Writes into the guest what the shadow changed. Without a connection of root's it waits for one.
    pub async fn write_out(&self, model: &Model) -> io::Result<()> {
        self.write_with(&mut *self.shadow.lock().await, model, &self.hands()).await
    }

    async fn write_with(&self, shadow: &mut Shadow, model: &Model, hands: &[Arc<Link>]) -> io::Result<()> {
        let changes = shadow.changes(model);
        if changes.effects.is_empty() {
            return Ok(());
        }
        let mut outcome = Err(io::ErrorKind::NotConnected.into());
        for hand in hands {
            outcome = hand.apply(changes.effects.clone()).await;
            if outcome.is_ok() {
                shadow.written(changes);
                break;
            }
        }
        outcome
    }

    /// Lets the shadow see the guest as root does, after everything that it changed is there.
    pub async fn look(&self, model: &Model, link: &Arc<Link>, named: Vec<String>) -> io::Result<()> {
        let mut shadow = self.shadow.lock().await;
        self.write_with(&mut shadow, model, std::slice::from_ref(link)).await?;
        let seen = link.observe(named, shadow.known()).await?;
        *lock(&self.listening) = seen.listening.clone();
        shadow.load(model, &*self.dialler, seen);
        Ok(())
    }

    /// Lets the shadow see the files that a command of somebody's names.
    pub async fn look_at(&self, model: &Model, link: &Arc<Link>, named: Vec<String>) -> io::Result<()> {
        let mut shadow = self.shadow.lock().await;
        let seen = link.observe(named.clone(), std::collections::BTreeMap::new()).await?;
        shadow.load_named(model, seen, &named);
        Ok(())
    }

    /// Runs a program in the guest; an error is what it said.
    async fn program<const N: usize>(&self, argv: [&str; N]) -> Result<(), String> {
        for hand in self.hands() {
            match hand.run(argv).await {
                Ok((0, _)) => return Ok(()),
                Ok((_, text)) => return Err(text.trim().to_owned()),
                // The next one may still be there.
                Err(_) if hand.is_closed() => {}
                Err(error) => return Err(format!("{}: {error}", argv.join(" "))),
            }
        }
        Err(format!("{}: nobody in the guest can run it", argv.join(" ")))
    }

    async fn until_gone(&self, daemon: Daemon) {
        let gone = async {
            loop {
                let news = self.news();
                if self.daemon(daemon).is_none() {
                    break;
                }
                news.await;
            }
        };
        // What is not gone by then is seen at its next connection.
        let _ = tokio::time::timeout(GONE, gone).await;
    }
}

#[async_trait]
impl Host for Body {
    async fn start(&self, model: &Arc<Model>, unit: &str) -> Result<(), String> {
        self.flush(model).await;
        self.program(["systemctl", "daemon-reload"]).await?;
        self.program(["systemctl", "start", unit]).await
    }

    async fn stop(&self, model: &Arc<Model>, unit: &str) {
        self.flush(model).await;
        if let Err(why) = self.program(["systemctl", "stop", unit]).await {
            model.log(unit, why);
        }
        if unit == Daemon::Kubelet.unit() {
            self.until_gone(Daemon::Kubelet).await;
            model.live(|live| live.set_unit(unit, UnitState::Inactive));
        }
    }

    async fn route(&self, model: &Arc<Model>, part: Ipv4Net, via: Option<Ipv4Addr>) {
        let (part_text, ip) = (part.to_string(), ["ip", "-4", "route"]);
        let done = match via.map(|via| via.to_string()) {
            Some(via) => self.program([ip[0], ip[1], ip[2], "replace", &part_text, "via", &via]).await,
            None => self.program([ip[0], ip[1], ip[2], "del", &part_text]).await,
        };
        match done {
            Ok(()) => model.live(|live| match via {
                Some(via) => drop(live.pod_routes.insert(part, via)),
                None => drop(live.pod_routes.remove(&part)),
            }),
            Err(why) => {
                model.log("cilium", why);
                // The agent tries it again at its next look.
                model.live(|live| live.routes_set.remove(&part));
            }
        }
    }

    async fn connect(&self, _: &Arc<Model>, to: SocketAddrV4) -> io::Result<Wire> {
        Ok(seam::wire(self.dialler.connect(to).await?))
    }

    fn listens(&self, model: &Model, port: u16) -> bool {
        lock(&self.listening).contains(&port) || services::modelled_port(model, port)
    }

    fn save(&self, _: &Model, _: &Disk) -> io::Result<()> {
        self.saved.notify_one();
        Ok(())
    }

    async fn flush(&self, model: &Model) {
        let (Some(body), model) = (self.me.upgrade(), model.arc()) else { return };
        // A task of its own: whoever waits may stop waiting, and the writing goes on.
        let write = tokio::spawn(async move {
            match body.write_out(&model).await {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                    model.around.console(&format!("fusionlab-sim: cannot write the guest's files: {error}"));
                }
                _ => {}
            }
        });
        let _ = write.await;
    }

    fn logged(&self, unit: &str, line: &str) {
        let daemon = match unit {
            "kubelet" => Daemon::Kubelet,
            "containerd" => Daemon::Containerd,
            _ => return,
        };
        let (Some(link), Ok(runtime)) = (self.daemon(daemon), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let line = line.to_owned();
        runtime.spawn(async move { link.complain(&line).await });
    }
}
