//! `vmrest`: Fusion's REST server as a second driver. It does what it can, `vmrun` the rest.
//!
//! It lists, powers and fully clones VMs and knows each card's addresses; linked clones, snapshots and deletion are
//! not in it (facts/vmrun-vmrest.md §3.5). The server is our own: see `vmrest_server.rs`.
//!
//! A VM that it does not list must be registered before it can be told anything, and there is no way back out of its
//! list but deleting the VM's files: such a VM stays there, and shows in Fusion's window.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::observe::{is_among, is_whole};
use super::power::{self, Power, Switch};
use super::refusal::Order;
use super::verbs::{self, Again, Deadlines, Said, Tries, Verb, Verdict};
use super::vmrest_client::{Body, Rest, listed, nonsense, text_member};
use super::vmrest_server::Server;
use super::vmrun::{Vmrun, must_be_absent};
use crate::formats::mac::Mac;
use crate::host::{Clone, HostError, Hypervisor, Result, Stop, dial, files};

/// Power that is on, in the server's words; a VM on its way is not off.
const POWERED: &[&str] = &["poweredOn", "poweringOn", "poweringOff", "paused"];

/// The `vmrest` driver.
pub struct Vmrest {
    inner: Vmrun,
    /// Replaced when it takes our password no more.
    connection: Mutex<Connection>,
    home: PathBuf,
}

/// A server and how it is spoken to.
struct Connection {
    rest: Rest,
    /// Held for its life: the server ends with it.
    _server: Option<Server>,
    /// Whether its password was renewed already; that does not help twice.
    renewed: bool,
}

impl Vmrest {
    /// Starts a server with credentials of its own below `home` (`FUSIONLAB_HOME/rest`), and waits for it.
    pub async fn start(inner: Vmrun, home: &Path) -> Result<Self> {
        let (rest, server) = serve(&inner, home).await?;
        let connection = Connection { rest, _server: Some(server), renewed: false };
        Ok(Self { inner, connection: Mutex::new(connection), home: home.to_owned() })
    }

    /// Makes one request. A server that does not know our password (any more) is replaced, once.
    async fn once(&self, verb: &Verb, method: &Method, path: &str, body: &Body) -> Result<Value> {
        let limit = (verb.limit)(self.inner.deadlines());
        let rest = self.connection.lock().await.rest.clone();
        match rest.call(method, path, body, limit).await {
            Err(error @ HostError::Rest { status: 401, .. }) => {
                let rest = self.renewed(&rest.access.password, error).await?;
                rest.call(method, path, body, limit).await
            }
            outcome => outcome,
        }
    }

    async fn renewed(&self, refused: &str, error: HostError) -> Result<Rest> {
        let mut connection = self.connection.lock().await;
        // Another call may have come first.
        if connection.rest.access.password == refused {
            if connection.renewed {
                return Err(error);
            }
            let (rest, server) = serve(&self.inner, &self.home).await?;
            *connection = Connection { rest, _server: Some(server), renewed: true };
        }
        Ok(connection.rest.clone())
    }

    /// Asks, and asks again as the table says.
    async fn ask(&self, verb: &'static Verb, method: Method, path: &str, body: Body) -> Result<Value> {
        let mut tries = Tries::of(verb);
        loop {
            let error = match self.once(verb, &method, path, &body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match &error {
                HostError::Rest { message, .. } if verbs::meaning(message).passes => Again::Busy,
                HostError::Deadline { .. } => Again::Hang,
                _ => return Err(error),
            };
            if !tries.another(again).await {
                return Err(error);
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.ask(&verbs::QUERY, Method::GET, path, Body::None).await
    }

    /// Gives an order once; the server's own opinion comes back as text, as vmrun's does.
    async fn order(&self, verb: &Verb, method: Method, path: &str, body: Body) -> Result<(Said, Value)> {
        match self.once(verb, &method, path, &body).await {
            Ok(answer) => Ok((Said::Nothing, answer)),
            Err(HostError::Rest { message, .. }) => Ok((Said::Complaint(message), Value::Null)),
            Err(HostError::Deadline { limit, .. }) => {
                let text = format!("vmrest did not answer {method} {path} within {} s", limit.as_secs());
                Ok((Said::Hung(text), Value::Null))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the VMs that the server knows: its name for each, and the VMX.
    async fn list(&self) -> Result<Vec<(String, PathBuf)>> {
        let answer = self.get("/vms").await?;
        listed(&answer).ok_or_else(|| nonsense("/vms", &answer))
    }

    /// Returns the server's name for a VM. Names are looked up each time: they follow the user and the library.
    /// A VM that the server does not list is registered, as those that vmrun cloned are not.
    async fn id(&self, vmx: &Path) -> Result<String> {
        let wanted = BTreeSet::from([files::resolved(vmx)]);
        if let Some((id, _)) = self.list().await?.into_iter().find(|(_, path)| is_among(&wanted, path)) {
            return Ok(id);
        }
        let path = "/vms/registration";
        let body = Body::Json(json!({ "name": stem(vmx), "path": vmx }));
        let answer = self.ask(&verbs::REGISTER, Method::POST, path, body).await?;
        text_member(&answer, "id").ok_or_else(|| nonsense(path, &answer))
    }

    /// Finds where the server put a clone that it made.
    async fn made(&self, answer: &Value) -> Result<Option<PathBuf>> {
        let Some(id) = text_member(answer, "id") else { return Ok(None) };
        let path = self.list().await?.into_iter().find(|(listed, _)| *listed == id).map(|(_, path)| path);
        Ok(path.filter(|path| is_whole(path).unwrap_or(false)))
    }
}

async fn serve(inner: &Vmrun, home: &Path) -> Result<(Rest, Server)> {
    let server = Server::start(&inner.fusion().program("vmrest"), home, inner.deadlines()).await?;
    Ok((Rest::new(server.access())?, server))
}

#[async_trait]
impl Switch for Vmrest {
    fn deadlines(&self) -> &Deadlines {
        self.inner.deadlines()
    }

    async fn switch(&self, vmx: &Path, how: Power) -> Result<Said> {
        let word = match how {
            Power::On => "on",
            Power::Soft => "shutdown",
            Power::Hard => "off",
        };
        let path = format!("/vms/{}/power", self.id(vmx).await?);
        Ok(self.order(how.verb(), Method::PUT, &path, Body::Word(word)).await?.0)
    }
}

#[async_trait]
impl Hypervisor for Vmrest {
    /// The server lists only registered VMs, vmrun those that run: together they are all.
    async fn running(&self) -> Result<BTreeSet<PathBuf>> {
        let mut running = self.inner.running().await?;
        for (id, path) in self.list().await? {
            let path = files::resolved(&path);
            if running.contains(&path) {
                continue;
            }
            // The list may name VMs whose files are gone.
            match self.get(&format!("/vms/{id}/power")).await {
                Ok(answer) => {
                    if text_member(&answer, "power_state")
                        .is_some_and(|state| POWERED.contains(&state.as_str()))
                    {
                        running.insert(path);
                    }
                }
                Err(HostError::Rest { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(running)
    }

    async fn start(&self, vmx: &Path) -> Result<()> {
        power::start(self, vmx).await
    }

    async fn stop(&self, vmx: &Path, how: Stop) -> Result<()> {
        power::stop(self, vmx, how).await
    }

    async fn snapshot(&self, vmx: &Path, name: &str) -> Result<()> {
        self.inner.snapshot(vmx, name).await
    }

    async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>> {
        self.inner.snapshots(vmx).await
    }

    /// The server makes full clones only, in a folder of its choice: they are moved to where they are wanted.
    async fn clone_vm(&self, from: &Path, to: &Path, how: Clone, snapshot: &str, name: &str) -> Result<()> {
        if how == Clone::Linked {
            return self.inner.clone_vm(from, to, how, snapshot, name).await;
        }
        must_be_absent(to)?;
        let order = Order::about("clone", from);
        let mut tries = Tries::of(&verbs::CLONE);
        loop {
            let body = Body::Json(json!({ "name": name, "parentId": self.id(from).await? }));
            let (said, answer) = self.order(&verbs::CLONE, Method::POST, "/vms", body).await?;
            let made = self.made(&answer).await?;
            match (tries.judge(&said, made.is_some()).await, made) {
                (Verdict::Done, Some(made)) => return move_to(&made, to),
                (Verdict::Again, _) => {}
                _ => {
                    let silent = "success was reported, but the clone has no VMX or no disk";
                    return Err(order.refused(said, silent));
                }
            }
        }
    }

    async fn delete(&self, vmx: &Path) -> Result<()> {
        self.inner.delete(vmx).await
    }

    async fn address(&self, vmx: &Path, mac: Mac) -> Result<Option<Ipv4Addr>> {
        let path = format!("/vms/{}/nicips", self.id(vmx).await?);
        match self.get(&path).await {
            Ok(answer) => Ok(address_of(&answer, mac)),
            // Not powered on, or no tools in it: it does not know.
            Err(HostError::Rest { status: 409 | 500, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn variable(&self, vmx: &Path, name: &str) -> Result<Option<String>> {
        self.inner.variable(vmx, name).await
    }
}

/// Moves a clone's files from where the server made it. Those that bear the clone's name get the wished one; a disk
/// keeps its own, which the VMX repeats.
fn move_to(made: &Path, to: &Path) -> Result<()> {
    if files::resolved(made) == files::resolved(to) {
        return Ok(());
    }
    // The wanted folder may be there, with marks in it.
    let bundle = files::parent(to);
    files::create_dir(bundle)?;
    let folder = files::parent(made);
    let given = format!("{}.", stem(made));
    for path in files::list(folder)? {
        let name = files::name_of(&path);
        let name = match name.strip_prefix(&given) {
            Some(ending) if ending != "vmdk" => format!("{}.{ending}", stem(to)),
            _ => name,
        };
        files::rename(&path, &bundle.join(name))?;
    }
    files::remove_tree(folder, files::parent(folder))
}

fn stem(vmx: &Path) -> String {
    vmx.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads `{"nics": [{"mac": …, "ip": ["a.b.c.d/24", …]}]}`.
fn address_of(answer: &Value, mac: Mac) -> Option<Ipv4Addr> {
    let is_ours = |nic: &&Value| text_member(nic, "mac").and_then(|text| text.parse().ok()) == Some(mac);
    let nic = answer.get("nics")?.as_array()?.iter().find(is_ours)?;
    let addresses = nic.get("ip")?.as_array()?.iter().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|text| text.split('/').next()?.parse().ok());
    addresses.into_iter().find_map(dial::guest_address)
}

#[cfg(all(test, feature = "sim"))]
#[path = "vmrest_tests.rs"]
mod tests;
