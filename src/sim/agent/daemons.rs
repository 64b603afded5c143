//! The guest's units in the world: the kubelet, containerd, and the shim that holds the pods' ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Life;
use super::body::Daemon;
use super::link::Link;
use super::protocol::ToGuest;
use crate::sim::guest::kube::{envoy, kubelet};
use crate::sim::guest::live::UnitState;
use crate::sim::guest::services::{API, ETCD_CLIENT, ETCD_PEER, KUBELET, KUBELET_HEALTH};
use crate::sim::guest::{Model, lock, pace, units};

/// A unit that ends with its message.
const FAILED: i32 = 1;
/// What a shim is called.
pub const SHIM: &str = "containerd-shim-runc-v2";
/// How long a starting kubelet looks for containerd, which systemd may be starting as well.
const RUNTIME: Duration = Duration::from_secs(3);
const SCHEDULER: u16 = 10259;
const CONTROLLER_MANAGER: u16 = 10257;

impl Life {
    /// Makes a connection a hand of the world's and looks at the guest through it; false if that ended it.
    async fn begin(&self, link: &Arc<Link>, unit: &str) -> bool {
        self.body.add_hand(link, true);
        match self.body.look(&self.model, link, Vec::new()).await {
            Ok(()) => true,
            Err(error) => {
                self.end(link, &format!("{unit}: the simulated world cannot look at this machine: {error}"))
                    .await;
                false
            }
        }
    }

    /// Ends a unit's stand-in with its last words.
    async fn end(&self, link: &Arc<Link>, why: &str) {
        link.complain(why).await;
        link.tell(ToGuest::Exit(FAILED)).await;
        self.body.remove_hand(link);
    }

    /// Is the kubelet for as long as its process lives.
    pub async fn kubelet(self: &Arc<Self>, link: &Arc<Link>) {
        if !self.begin(link, "kubelet").await {
            return;
        }
        self.await_runtime().await;
        if let Some(why) = kubelet::obstacle(&self.model) {
            return self.end(link, &format!("E command failed: {why}")).await;
        }
        let (any, local) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST);
        let ports = [SocketAddrV4::new(any, KUBELET), SocketAddrV4::new(local, KUBELET_HEALTH)];
        match link.listen(ports.into()).await {
            Ok(failed) if failed.is_empty() => {}
            Ok(failed) => {
                let why = failed.iter().map(|(at, why)| format!("listen tcp {at}: {why}"));
                return self.end(link, &format!("E {}", why.collect::<Vec<_>>().join("; "))).await;
            }
            Err(_) => return self.body.remove_hand(link),
        }
        self.body.set_daemon(Daemon::Kubelet, link);
        kubelet::start(&self.model);
        self.model.commons.announce();
        link.closed().await;
        self.body.remove_hand(link);
        if self.body.remove_daemon(Daemon::Kubelet, link) {
            self.model.live(|live| live.set_unit("kubelet", UnitState::Inactive));
            kubelet::stop(&self.model);
            self.model.commons.announce();
        }
    }

    async fn await_runtime(&self) {
        let runs = async {
            loop {
                let news = self.body.news();
                if self.body.daemon(Daemon::Containerd).is_some() {
                    break;
                }
                news.await;
            }
        };
        // Without it the kubelet says what it misses, and systemd starts it again.
        let _ = tokio::time::timeout(RUNTIME, runs).await;
    }

    /// Is containerd for as long as its process lives.
    pub async fn containerd(self: &Arc<Self>, link: &Arc<Link>) {
        if !self.begin(link, "containerd").await {
            return;
        }
        if let Err(why) = units::check_containerd(&self.model) {
            return self.end(link, &why).await;
        }
        self.model.live(|live| live.set_unit("containerd", UnitState::Active));
        self.body.set_daemon(Daemon::Containerd, link);
        self.spawning.store(false, Ordering::Relaxed);
        link.tell(ToGuest::Ready).await;
        self.model.commons.announce();
        self.update_ports().await;
        link.closed().await;
        self.body.remove_hand(link);
        if self.body.remove_daemon(Daemon::Containerd, link) {
            self.model.live(|live| live.set_unit("containerd", UnitState::Inactive));
            self.model.commons.announce();
        }
    }

    /// Is the pods' processes for as long as they live; their end is the static pods' end, until a kubelet starts them.
    pub async fn shim(self: &Arc<Self>, link: &Arc<Link>) {
        self.body.add_hand(link, true);
        self.body.set_daemon(Daemon::Shim, link);
        self.update_ports().await;
        link.closed().await;
        self.body.remove_hand(link);
        if !self.body.remove_daemon(Daemon::Shim, link) || self.model.power.is_cancelled() {
            return;
        }
        *lock(&self.told) = BTreeSet::new();
        let (pods, cluster) =
            self.model.live(|live| (std::mem::take(&mut live.static_pods), live.cluster.clone()));
        let member = self.model.disk(|disk| disk.etcd.as_ref().map(|etcd| etcd.name.clone()));
        if pods.contains("etcd")
            && let (Some(cluster), Some(member)) = (cluster, member)
        {
            cluster.member_down(&member);
        }
        self.model.commons.announce();
        if self.body.daemon(Daemon::Kubelet).is_some() && !pods.is_empty() {
            let model = Arc::clone(&self.model);
            self.model.spawn(async move { kubelet::start_static_pods(&model).await });
        }
    }

    /// Keeps the shim's ports as the model has them, for as long as the guest has power.
    pub async fn keep_ports(self: Arc<Self>) {
        loop {
            let (news, daemons) = (self.model.commons.news(), self.body.news());
            let complete = self.update_ports().await;
            let again = async {
                match complete {
                    true => std::future::pending().await,
                    false => self.model.look_again(pace::POLL).await,
                }
            };
            tokio::select! {
                () = news => {}
                () = daemons => {}
                () = again => {}
            }
        }
    }

    /// Tells the shim what to listen on, if that changed. One is started when there is something, and ends when not.
    /// False if something is still to be had.
    pub async fn update_ports(&self) -> bool {
        let _one = self.ports.lock().await;
        let wanted = wanted_ports(&self.model);
        let Some(shim) = self.body.daemon(Daemon::Shim) else {
            let containerd = self.body.daemon(Daemon::Containerd).filter(|_| !wanted.is_empty());
            if let Some(containerd) = containerd
                && !self.spawning.swap(true, Ordering::Relaxed)
            {
                containerd.tell(ToGuest::Spawn(SHIM.to_owned())).await;
            }
            return wanted.is_empty();
        };
        self.spawning.store(false, Ordering::Relaxed);
        if *lock(&self.told) == wanted {
            return true;
        }
        let Ok(failed) = shim.listen(wanted.clone()).await else { return false };
        for (address, why) in &failed {
            self.model.log("containerd", format!("level=error msg=\"listen tcp {address}: {why}\""));
        }
        // What failed is tried again at the next look.
        let had: BTreeSet<_> =
            wanted.iter().filter(|address| !failed.contains_key(address)).copied().collect();
        let new = std::mem::replace(&mut *lock(&self.told), had.clone()) != had;
        if wanted.is_empty() {
            // It is no longer ours before it ends: its end means nothing to the pods that come next.
            self.body.remove_daemon(Daemon::Shim, &shim);
            self.body.remove_hand(&shim);
            shim.tell(ToGuest::Exit(0)).await;
        } else if new {
            self.model.commons.announce();
        }
        failed.is_empty()
    }
}

/// Returns the addresses of everything that runs in pods now.
fn wanted_ports(model: &Arc<Model>) -> BTreeSet<SocketAddrV4> {
    let pods = model.live(|live| live.static_pods.clone());
    let etcd = model.disk(|disk| disk.etcd.clone());
    let peer = etcd.and_then(|etcd| Some(etcd.data.members.get(&etcd.name)?.peer));
    let mut ports = BTreeSet::new();
    let mut put = |address, port| {
        ports.insert(SocketAddrV4::new(address, port));
    };
    for pod in &pods {
        match pod.as_str() {
            "kube-apiserver" => put(Ipv4Addr::UNSPECIFIED, API),
            "kube-scheduler" => put(Ipv4Addr::LOCALHOST, SCHEDULER),
            "kube-controller-manager" => put(Ipv4Addr::LOCALHOST, CONTROLLER_MANAGER),
            "etcd" => {
                put(Ipv4Addr::LOCALHOST, ETCD_CLIENT);
                for port in [ETCD_CLIENT, ETCD_PEER] {
                    peer.into_iter().for_each(|peer| put(peer, port));
                }
            }
            _ => {}
        }
    }
    for port in envoy::node_ports(model) {
        put(Ipv4Addr::UNSPECIFIED, port);
    }
    ports
}
