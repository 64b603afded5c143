//! One living cluster: whose disks hold its data, whether they are enough, and how a change reaches them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::controllers::Settled;
use super::data::{Data, EtcdOnDisk, Member};
use super::objects;
use crate::sim::guest::{Commons, Model, lock};
use crate::sim::inside;

/// How long a bootstrap token lives unless it is asked for otherwise.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);
/// What etcd says when too few members live.
pub const NO_QUORUM: &str = "etcdserver: request timed out";
/// What etcd says to a second learner (facts/kubernetes-cilium.md §1.6).
pub const TOO_MANY_LEARNERS: &str = "etcdserver: too many learner members in cluster";

/// A cluster that at least one machine knows.
pub struct Cluster {
    pub ca_hash: String,
    state: Mutex<State>,
    /// Spreads requests over pods, by the node that spreads them.
    turns: Mutex<BTreeMap<String, usize>>,
    settled: Mutex<Option<Settled>>,
}

#[derive(Default)]
struct State {
    data: Arc<Data>,
    /// Members whose etcd runs.
    up: BTreeMap<String, Weak<Model>>,
    /// Whether a majority ran since the last time there was none.
    established: bool,
    /// Work in flight, by name, so that it is not begun twice.
    busy: BTreeSet<String>,
    /// Nodes whose kubelets fell silent and that are not missed yet, with the number of that silence.
    grace: BTreeMap<String, u64>,
    silences: u64,
}

impl State {
    fn alive(&mut self) -> Vec<(String, Arc<Model>)> {
        self.up.retain(|_, model| model.upgrade().is_some_and(|model| !model.power.is_cancelled()));
        self.up.iter().filter_map(|(name, model)| Some((name.clone(), model.upgrade()?))).collect()
    }

    fn quorum(&mut self) -> bool {
        let alive = self.alive();
        let votes = alive
            .iter()
            .filter(|(name, _)| self.data.members.get(name).is_some_and(|member| !member.learner))
            .count();
        let quorum = votes * 2 > self.data.voters();
        self.established &= quorum;
        quorum
    }

    /// Once a majority runs, the newest of its disks is the truth.
    fn establish(&mut self) {
        if self.established || !self.quorum() {
            return;
        }
        let disks = self.alive().into_iter().filter_map(|(_, model)| model.disk(|disk| disk.etcd.clone()));
        if let Some(newest) = disks.map(|etcd| etcd.data).max_by_key(|data| data.revision) {
            self.data = newest;
        }
        self.established = true;
        // Controllers that begin give every node its grace: what it said last is believed until then.
        self.grace.clear();
        let nodes: Vec<String> =
            self.data.list("nodes", None).iter().filter_map(|node| name_of(node)).collect();
        for node in nodes {
            self.silent(&node);
        }
    }

    fn silent(&mut self, node: &str) {
        self.silences += 1;
        self.grace.insert(node.to_owned(), self.silences);
    }

    fn write_disks(&mut self) {
        let data = Arc::clone(&self.data);
        for (name, model) in self.alive() {
            let etcd = EtcdOnDisk { name, data: Arc::clone(&data) };
            model.change_disk(|disk| disk.etcd = Some(etcd));
        }
    }
}

/// Work of a controller that another must not begin, too.
pub struct UnderWay {
    cluster: Arc<Cluster>,
    name: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.cluster.state).busy.remove(&self.name);
    }
}

fn name_of(object: &serde_json::Value) -> Option<String> {
    object["metadata"]["name"].as_str().map(str::to_owned)
}

impl Cluster {
    /// Returns the cluster of this CA, made known now if nobody knew it.
    pub fn of(commons: &Commons, data: &Arc<Data>) -> Arc<Self> {
        let mut clusters = lock(&commons.clusters);
        if let Some(known) = clusters.get(&data.ca_hash).and_then(Weak::upgrade) {
            return known;
        }
        let state = State { data: Arc::clone(data), ..State::default() };
        let cluster = Arc::new(Self {
            ca_hash: data.ca_hash.clone(),
            state: Mutex::new(state),
            turns: Mutex::default(),
            settled: Mutex::default(),
        });
        clusters.insert(data.ca_hash.clone(), Arc::downgrade(&cluster));
        cluster
    }

    /// Begins a cluster anew in place of one whose data is gone.
    pub fn begin(commons: &Commons, data: Data) -> Arc<Self> {
        let data = Arc::new(data);
        lock(&commons.clusters).remove(&data.ca_hash);
        Self::of(commons, &data)
    }

    /// Finds a cluster that runs, by its CA's hash.
    pub fn find(commons: &Commons, ca_hash: &str) -> Option<Arc<Self>> {
        lock(&commons.clusters).get(ca_hash).and_then(Weak::upgrade)
    }

    /// A member's etcd came up with the data on its disk. Says whether the cluster lives by it, and did not before.
    pub fn member_up(&self, name: &str, model: &Arc<Model>) -> bool {
        let mut state = lock(&self.state);
        let lived = state.established && state.quorum();
        state.up.insert(name.to_owned(), Arc::downgrade(model));
        if lived {
            state.write_disks();
        } else {
            let own = model.disk(|disk| disk.etcd.clone()).map(|etcd| etcd.data);
            if let Some(own) = own.filter(|own| own.revision > state.data.revision || state.up.len() == 1) {
                state.data = own;
            }
            state.establish();
        }
        !lived && state.established
    }

    pub fn member_down(&self, name: &str) {
        let mut state = lock(&self.state);
        state.up.remove(name);
        state.quorum();
    }

    pub fn quorum(&self) -> bool {
        let mut state = lock(&self.state);
        state.establish();
        state.established && state.quorum()
    }

    /// Returns the data as it is now, without asking for a quorum: what a node's data path last heard.
    pub fn data(&self) -> Arc<Data> {
        Arc::clone(&lock(&self.state).data)
    }

    /// Reads through etcd.
    pub fn read(&self) -> Result<Arc<Data>, String> {
        if self.quorum() { Ok(self.data()) } else { Err(NO_QUORUM.into()) }
    }

    /// Changes the data and writes it to every running member's disk; a refused change leaves nothing.
    pub fn change<T>(&self, change: impl FnOnce(&mut Data) -> Result<T, String>) -> Result<T, String> {
        if !self.quorum() {
            return Err(NO_QUORUM.into());
        }
        let mut state = lock(&self.state);
        let mut data = Data::clone(&state.data);
        let answer = change(&mut data)?;
        if data != *state.data {
            data.revision += 1;
            state.data = Arc::new(data);
            state.write_disks();
        }
        Ok(answer)
    }

    /// Returns where the controllers last had nothing to change.
    pub fn settled(&self) -> MutexGuard<'_, Option<Settled>> {
        lock(&self.settled)
    }

    /// Saves the members' disks, as etcd does before it answers.
    pub fn sync(&self) {
        let alive = lock(&self.state).alive();
        for (_, model) in alive {
            model.sync();
        }
    }

    /// Returns the running members by name.
    pub fn members_up(&self) -> Vec<(String, Arc<Model>)> {
        lock(&self.state).alive()
    }

    /// Returns a control plane whose controllers run: they work for the whole cluster.
    pub fn leader(&self) -> Option<Arc<Model>> {
        let runs =
            |model: &Arc<Model>| model.live(|live| live.static_pods.contains("kube-controller-manager"));
        self.members_up().into_iter().map(|(_, model)| model).find(runs)
    }

    /// Counts a node's requests, so that each goes to the next pod.
    pub fn turn(&self, node: &str) -> usize {
        let mut turns = lock(&self.turns);
        let turn = turns.entry(node.to_owned()).or_default();
        *turn = turn.wrapping_add(1);
        *turn
    }

    /// Marks work as begun until what is returned goes, be it with the power of whoever does it; none if it was already.
    pub fn begin_work(self: &Arc<Self>, name: &str) -> Option<UnderWay> {
        let begun = lock(&self.state).busy.insert(name.to_owned());
        begun.then(|| UnderWay { cluster: Arc::clone(self), name: name.to_owned() })
    }

    /// Adds a learner: there may be one at a time.
    pub fn add_learner(&self, name: &str, member: Member) -> Result<(), String> {
        self.change(|data| {
            let waiting = |(other, one): (&String, &Member)| one.learner && other != name;
            if data.members.iter().any(waiting) {
                inside::witness("a second etcd learner");
                return Err(TOO_MANY_LEARNERS.into());
            }
            if data.members.values().any(|one| one.peer == member.peer) {
                return Err("etcdserver: Peer URLs already exists".into());
            }
            data.members.insert(name.to_owned(), member);
            Ok(())
        })
    }

    /// Removes a member by its number.
    pub fn remove_member(&self, id: u64) -> Result<String, String> {
        let name = self.change(|data| {
            let name = data.members.iter().find(|(_, member)| member.id == id).map(|(name, _)| name.clone());
            let name = name.ok_or("etcdserver: member not found")?;
            if data.voters() == 1 && !data.members[&name].learner {
                return Err("etcdserver: re-configuration failed due to not enough started members".into());
            }
            data.members.remove(&name);
            Ok(name)
        })?;
        self.member_down(&name);
        Ok(name)
    }

    /// Lets what lasts only a time end that a sleep outlasted: bootstrap tokens live a day. Whether there is a quorum does not
    /// matter; the data is what it is.
    pub fn sleep(&self, slept: Duration) {
        if slept < TOKEN_LIFE {
            return;
        }
        let mut state = lock(&self.state);
        let mut data = Data::clone(&state.data);
        let tokens: Vec<String> = data
            .list("secrets", Some("kube-system"))
            .iter()
            .filter_map(|secret| secret["metadata"]["name"].as_str())
            .filter(|name| name.starts_with("bootstrap-token-"))
            .map(str::to_owned)
            .collect();
        for token in &tokens {
            data.remove("secrets", "kube-system", token);
        }
        if !tokens.is_empty() {
            data.revision += 1;
            state.data = Arc::new(data);
            state.write_disks();
        }
    }

    /// Returns the machine whose kubelet is a node of this cluster, while it runs.
    pub fn machine(&self, node: &str) -> Option<Arc<Model>> {
        let (_, any) = self.members_up().into_iter().next()?;
        any.commons.running().into_iter().find(|model| self.is_node(model, node))
    }

    fn is_node(&self, model: &Model, node: &str) -> bool {
        model.live(|live| {
            live.node.as_deref() == Some(node)
                && live.unit_active("kubelet")
                && live.cluster.as_ref().is_some_and(|cluster| cluster.ca_hash == self.ca_hash)
        })
    }

    /// A node's kubelet fell silent: it is in grace until [`Self::missed`] is told of that silence.
    pub fn silent(&self, node: &str) {
        lock(&self.state).silent(node);
    }

    /// Returns the nodes in grace, each with the number of its silence.
    pub fn silences(&self) -> BTreeMap<String, u64> {
        lock(&self.state).grace.clone()
    }

    /// The grace of these silences is over; that of later ones goes on.
    pub fn missed(&self, silences: &BTreeMap<String, u64>) {
        lock(&self.state).grace.retain(|node, silence| silences.get(node) != Some(silence));
    }

    /// Tells whether a node's kubelet, if it is silent, has not been for long.
    pub fn in_grace(&self, node: &str) -> bool {
        lock(&self.state).grace.contains_key(node)
    }

    /// Puts an object of ours into the cluster, whatever was there.
    pub fn put(&self, model: &Model, object: serde_json::Value) -> Result<(), String> {
        let now = model.around.clock_ms();
        self.change(|data| objects::apply(data, object, now).map(drop))
    }
}
