//! `vmrest`: Fusion's REST server as a second driver. It does what it can, `vmrun` the rest.
//!
//! It lists, powers and fully clones VMs and knows each card's addresses; linked clones, snapshots and deletion are
//! not in it (facts/vmrun-vmrest.md §3.5). The server is our own: see `vmrest_server.rs`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};

use super::observe::{Locks, Pauses, appears, await_unlocked, is_running, is_whole};
use super::refusal;
use super::vmrest_server::{Access, Server};
use super::vmrun::Vmrun;
use crate::formats::mac::Mac;
use crate::host::download::reason;
use crate::host::{Clone, HostError, Hypervisor, Result, Stop, clock, dial, files};

/// Anything else is answered with 406.
const MEDIA_TYPE: &str = "application/vnd.vmware.vmw.rest-v1+json";

/// The `vmrest` driver.
pub struct Vmrest {
    inner: Vmrun,
    rest: Rest,
    /// Held for its life: the server ends with it.
    _server: Option<Server>,
    query: Duration,
    unlock: Duration,
}

impl Vmrest {
    /// Starts a server with credentials of its own in `home` (`FUSIONLAB_HOME/rest`), and waits for it.
    /// `query` and `unlock` mean what they do for [`Vmrun::new`].
    pub async fn start(inner: Vmrun, home: &Path, query: Duration, unlock: Duration) -> Result<Self> {
        let server = Server::start(&inner.fusion().program("vmrest"), home, query).await?;
        let rest = Rest::new(server.access())?;
        Ok(Self { inner, rest, _server: Some(server), query, unlock })
    }

    /// Returns the server's name for a VM. Names are looked up each time: they follow the user and the library.
    /// A VM that the server does not list is registered, as those that vmrun cloned are not.
    async fn id(&self, vmx: &Path) -> Result<String> {
        let wanted = BTreeSet::from([files::resolved(vmx)]);
        let listed = self.rest.list(self.query).await?;
        if let Some((id, _)) = listed.into_iter().find(|(_, path)| super::observe::is_among(&wanted, path)) {
            return Ok(id);
        }
        let name = vmx.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let body = json!({ "name": name, "path": vmx });
        let answer = self.rest.call(Method::POST, "/vms/registration", Body::Json(body), self.query).await?;
        text(&answer, "id").ok_or_else(|| self.rest.nonsense("/vms/registration", &answer))
    }

    /// Sets the power state; the server's own opinion comes back as text, as vmrun's does.
    async fn power(&self, vmx: &Path, word: &'static str, limit: Duration) -> Result<Option<String>> {
        let id = self.id(vmx).await?;
        let path = format!("/vms/{id}/power");
        match self.rest.call(Method::PUT, &path, Body::Word(word), limit).await {
            Ok(_) => Ok(None),
            Err(HostError::Rest { message, .. }) => Ok(Some(message)),
            Err(HostError::Deadline { limit, .. }) => {
                Ok(Some(format!("vmrest did not answer `{word}` within {} s", limit.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    /// Finds where the server put a clone that it made.
    async fn made(&self, id: &str) -> Result<Option<PathBuf>> {
        let listed = self.rest.list(self.query).await?;
        Ok(listed.into_iter().find(|(listed, _)| listed == id).map(|(_, path)| path))
    }
}

#[async_trait]
impl Hypervisor for Vmrest {
    /// The server lists only registered VMs, vmrun those that run: together they are all.
    async fn running(&self) -> Result<BTreeSet<PathBuf>> {
        let mut running = self.inner.running().await?;
        for (id, path) in self.rest.list(self.query).await? {
            let path = files::resolved(&path);
            if running.contains(&path) {
                continue;
            }
            // The list may name VMs whose files are gone.
            match self.rest.call(Method::GET, &format!("/vms/{id}/power"), Body::None, self.query).await {
                Ok(answer) => {
                    if matches!(text(&answer, "power_state").as_deref(), Some("poweredOn" | "paused")) {
                        running.insert(path);
                    }
                }
                Err(HostError::Rest { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(running)
    }

    async fn start(&self, vmx: &Path, limit: Duration) -> Result<()> {
        if is_running(self, vmx).await? {
            return Ok(());
        }
        let until = clock::monotonic() + limit;
        let complaint = self.power(vmx, "on", limit).await?;
        if appears(self, vmx, until).await? {
            return Ok(());
        }
        let silent = "vmrest reported success, but the VM does not run";
        Err(refusal("start", vmx, complaint, silent))
    }

    async fn stop(&self, vmx: &Path, how: Stop, limit: Duration) -> Result<()> {
        if !is_running(self, vmx).await? {
            return await_unlocked(vmx, self.unlock, Locks::MayBeStale).await;
        }
        let until = clock::monotonic() + limit;
        let word = match how {
            Stop::Soft => "shutdown",
            Stop::Hard => "off",
        };
        let complaint = self.power(vmx, word, limit).await?;
        let mut pauses = Pauses::default();
        while is_running(self, vmx).await? {
            if complaint.is_some() || clock::monotonic() >= until {
                let silent = format!("still running {} s after `{word}`", limit.as_secs());
                return Err(refusal("stop", vmx, complaint, &silent));
            }
            pauses.next().await;
        }
        await_unlocked(vmx, self.unlock, Locks::AreLive).await
    }

    async fn snapshot(&self, vmx: &Path, name: &str, limit: Duration) -> Result<()> {
        self.inner.snapshot(vmx, name, limit).await
    }

    async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>> {
        self.inner.snapshots(vmx).await
    }

    /// The server makes full clones only, in a folder of its choice: they are moved to where they are wanted.
    async fn clone_vm(
        &self,
        from: &Path,
        to: &Path,
        how: Clone,
        snapshot: &str,
        name: &str,
        limit: Duration,
    ) -> Result<()> {
        if how == Clone::Linked {
            return self.inner.clone_vm(from, to, how, snapshot, name, limit).await;
        }
        if files::exists(to) {
            return Err(refusal("clone to", to, Some("there is a VM already".to_owned()), ""));
        }
        // The files bear the name that the server is given, so that is the VMX's; the VMX itself is ours to write.
        let stem = to.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let body = json!({ "name": stem, "parentId": self.id(from).await? });
        let answer = self.rest.call(Method::POST, "/vms", Body::Json(body), limit).await?;
        let id = text(&answer, "id").ok_or_else(|| self.rest.nonsense("/vms", &answer))?;
        let made = self.made(&id).await?;
        let made = made.filter(|made| is_whole(made).unwrap_or(false));
        let (Some(made), Some(bundle)) = (made, to.parent()) else {
            let silent = "vmrest reported success, but the clone has no VMX or no disk";
            return Err(refusal("clone", from, None, silent));
        };
        if files::resolved(&made) == files::resolved(to) {
            return Ok(());
        }
        if made.file_name() != to.file_name() {
            let silent = format!("vmrest named the clone {}", made.display());
            return Err(refusal("clone", from, None, &silent));
        }
        if let Some(folder) = bundle.parent() {
            files::create_dir(folder)?;
        }
        files::rename(made.parent().unwrap_or(&made), bundle)
    }

    async fn delete(&self, vmx: &Path, limit: Duration) -> Result<()> {
        self.inner.delete(vmx, limit).await
    }

    async fn address(&self, vmx: &Path, mac: Mac) -> Result<Option<Ipv4Addr>> {
        let path = format!("/vms/{}/nicips", self.id(vmx).await?);
        match self.rest.call(Method::GET, &path, Body::None, self.query).await {
            Ok(answer) => Ok(address_of(&answer, mac)),
            // Not powered on, or no tools in it: it does not know.
            Err(HostError::Rest { status: 409 | 500, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads `{"nics": [{"mac": …, "ip": ["a.b.c.d/24", …]}]}`.
fn address_of(answer: &Value, mac: Mac) -> Option<Ipv4Addr> {
    let is_ours = |nic: &&Value| text(nic, "mac").and_then(|text| text.parse().ok()) == Some(mac);
    let nic = answer.get("nics")?.as_array()?.iter().find(is_ours)?;
    let addresses = nic.get("ip")?.as_array()?.iter().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|text| text.split('/').next()?.parse().ok());
    addresses.into_iter().find_map(dial::guest_address)
}

/// Returns a text member of an object; its key in either case, since the server mixes them.
fn text(object: &Value, key: &str) -> Option<String> {
    let members = object.as_object()?;
    let (_, value) = members.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    value.as_str().map(str::to_owned)
}

/// The HTTP client of one server.
struct Rest {
    client: Client,
    access: Access,
}

enum Body {
    None,
    Json(Value),
    /// A bare word, which is no JSON: what a power state is set with.
    Word(&'static str),
}

impl Rest {
    fn new(access: Access) -> Result<Self> {
        crate::host::download::install_crypto();
        // A proxy in the user's environment must not see loopback requests.
        let client = Client::builder().no_proxy().build().map_err(|error| HostError::Rest {
            method: "GET",
            path: "/".to_owned(),
            status: 0,
            message: reason(&error),
        })?;
        Ok(Self { client, access })
    }

    /// Returns the VMs that the server knows: its name for each, and the VMX.
    async fn list(&self, limit: Duration) -> Result<Vec<(String, PathBuf)>> {
        let answer = self.call(Method::GET, "/vms", Body::None, limit).await?;
        let Some(vms) = answer.as_array() else { return Err(self.nonsense("/vms", &answer)) };
        Ok(vms.iter().filter_map(|vm| Some((text(vm, "id")?, PathBuf::from(text(vm, "path")?)))).collect())
    }

    async fn call(&self, method: Method, path: &str, body: Body, limit: Duration) -> Result<Value> {
        let url = format!("{}{path}", self.access.base);
        let mut request = self.client.request(method.clone(), url).timeout(limit);
        request = request.basic_auth(&self.access.user, Some(&self.access.password));
        request = request.header(header::ACCEPT, MEDIA_TYPE).header(header::CONTENT_TYPE, MEDIA_TYPE);
        request = match body {
            Body::None => request,
            Body::Json(value) => request.body(value.to_string()),
            Body::Word(word) => request.body(word),
        };
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                let what = format!("an answer of vmrest to {method} {path}");
                return HostError::Deadline { what, limit };
            }
            rest_error(&method, path, 0, reason(&error))
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        if status.is_success() {
            return Ok(value);
        }
        let message = text(&value, "message").unwrap_or_else(|| match value {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        });
        Err(rest_error(&method, path, status.as_u16(), message))
    }

    fn nonsense(&self, path: &str, answer: &Value) -> HostError {
        let status = StatusCode::OK.as_u16();
        rest_error(&Method::GET, path, status, format!("an answer that is not understood: {answer}"))
    }
}

fn rest_error(method: &Method, path: &str, status: u16, message: String) -> HostError {
    let method = match *method {
        Method::PUT => "PUT",
        Method::POST => "POST",
        _ => "GET",
    };
    HostError::Rest { method, path: path.to_owned(), status, message }
}

#[cfg(all(test, feature = "sim"))]
#[path = "vmrest_tests.rs"]
mod tests;
