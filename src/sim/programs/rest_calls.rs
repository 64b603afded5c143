//! vmrest's calls: one line of the table in facts/vmrun-vmrest.md §3.2 each.

use std::path::{Path, PathBuf};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::formats::vmx::Vmx;
use crate::sim::control::{Power, Request};
use crate::sim::faults;
use crate::sim::files;
use crate::sim::network::{self, Networks};
use crate::sim::orders::{Orders, resolve};
use crate::sim::places::vm_name;
use crate::sim::power::{self, number};
use crate::sim::refusal::Refusal;
use crate::sim::snapshots::CloneKind;

/// VMware's base32 digits for VM ids.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
const ID_LENGTH: usize = 32;
const INVALID: u16 = 100;
const NOT_ON: u16 = 106;
const NOT_OFF: u16 = 107;
const REDUNDANT: u16 = 121;
/// For errors whose number nobody has written down.
const UNKNOWN: u16 = 1;

/// What a call gives.
pub enum Answer {
    Value(StatusCode, Value),
    Nothing,
    Error(StatusCode, u16, String),
    NoSuchUrl,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::NotPoweredOn(_) => {
                let message = "The virtual machine is not powered on".to_owned();
                return Self::Error(StatusCode::CONFLICT, NOT_ON, message);
            }
            Refusal::AlreadyRunning => {
                let message = "The virtual machine is not powered off".to_owned();
                return Self::Error(StatusCode::CONFLICT, NOT_OFF, message);
            }
            Refusal::NoHost => {
                let message = "Unable to connect to host".to_owned();
                return Self::Error(StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN, message);
            }
            Refusal::NoVm(_) | Refusal::NoFile => (StatusCode::NOT_FOUND, UNKNOWN),
            Refusal::Invalid | Refusal::NotVmx(_) => (StatusCode::BAD_REQUEST, INVALID),
            Refusal::InUse | Refusal::Exists => (StatusCode::CONFLICT, UNKNOWN),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN),
        };
        Self::Error(status, code, refusal.to_string())
    }
}

type Outcome = Result<Answer, Answer>;

fn ok(value: Value) -> Outcome {
    Ok(Answer::Value(StatusCode::OK, value))
}

fn invalid(what: &str) -> Answer {
    Answer::Error(StatusCode::BAD_REQUEST, INVALID, format!("One of the parameters was invalid: {what}"))
}

/// Answers one call.
pub async fn answer(orders: &Orders, method: &Method, segments: &[&str], body: &str) -> Answer {
    let call = Call { orders, body };
    let outcome = match (method.as_str(), segments) {
        ("GET", ["vms"]) => call.list(),
        ("POST", ["vms"]) => call.clone_vm().await,
        ("POST", ["vms", "registration"]) => call.register(),
        (_, ["vms", id, rest @ ..]) => match call.vm(id) {
            Some(vmx) => call.of_vm(method, id, &vmx, rest).await,
            None => Err(Refusal::NoVm(PathBuf::from(id)).into()),
        },
        ("GET", ["vmnet"]) => call.networks(),
        ("GET", ["vmnet", vmnet, "mactoip"]) => call.reservations(vmnet),
        ("GET", ["vmnet", vmnet, "portforward"]) => call.forwards(vmnet),
        // Writing networks needs a vmrest that root runs, which nobody here does.
        ("POST", ["vmnets"]) | ("PUT", ["vmnet", ..]) | ("DELETE", ["vmnet", ..]) => {
            let message = Refusal::Permissions.to_string();
            Err(Answer::Error(StatusCode::FORBIDDEN, UNKNOWN, message))
        }
        _ => Err(Answer::NoSuchUrl),
    };
    outcome.unwrap_or_else(|error| error)
}

struct Call<'a> {
    orders: &'a Orders,
    body: &'a str,
}

impl Call<'_> {
    fn json(&self) -> Result<Value, Answer> {
        serde_json::from_str(self.body).map_err(|_| invalid("body"))
    }

    fn text(&self, key: &str) -> Result<String, Answer> {
        let text = self.json()?.get(key).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| invalid(key))
    }

    /// Returns the registered VMs: what vmrun cloned is not among them.
    fn registered(&self) -> Vec<PathBuf> {
        let text = files::read(&self.orders.places.inventory()).ok().flatten().unwrap_or_default();
        text.lines().map(PathBuf::from).filter(|vmx| vmx.exists()).collect()
    }

    fn enter(&self, vmx: &Path) -> Result<(), Answer> {
        if self.registered().iter().any(|there| there == vmx) {
            return Ok(());
        }
        let line = format!("{}\n", vmx.display());
        files::append(&self.orders.places.inventory(), line).map_err(|error| Refusal::from(error).into())
    }

    fn vm(&self, wanted: &str) -> Option<PathBuf> {
        self.registered().into_iter().find(|vmx| id(vmx) == wanted)
    }

    fn list(&self) -> Outcome {
        let vms = self.registered();
        ok(vms.iter().map(|vmx| json!({ "id": id(vmx), "path": vmx })).collect())
    }

    fn register(&self) -> Outcome {
        let vmx = resolve(&self.text("path")?);
        power::open_vmx(&vmx).map_err(|_| invalid("path"))?;
        self.text("name")?;
        self.enter(&vmx)?;
        Ok(Answer::Value(StatusCode::CREATED, json!({ "id": id(&vmx), "path": vmx })))
    }

    /// Clones fully, into the default folder.
    async fn clone_vm(&self) -> Outcome {
        let name = self.text("name")?;
        if name.is_empty() || name.contains('/') {
            return Err(invalid("name"));
        }
        let parent = self.vm(&self.text("parentId")?).ok_or_else(|| invalid("parentId"))?;
        self.must_not_be_locked(&parent)?;
        let to = self.orders.places.library().join(format!("{name}.vmwarevm/{name}.vmx"));
        if to.exists() {
            let message = "The virtual machine already exists".to_owned();
            return Err(Answer::Error(StatusCode::CONFLICT, UNKNOWN, message));
        }
        self.orders.clone_vm(&parent, &to, CloneKind::Full, None, Some(&name)).await?;
        self.enter(&to)?;
        let Answer::Value(_, value) = self.information(&to)? else { return Err(Answer::NoSuchUrl) };
        Ok(Answer::Value(StatusCode::CREATED, value))
    }

    async fn of_vm(&self, method: &Method, name: &str, vmx: &Path, rest: &[&str]) -> Outcome {
        match (method.as_str(), rest) {
            ("GET", []) => self.information(vmx),
            ("PUT", []) => self.resize(vmx).await,
            ("DELETE", []) => {
                self.orders.delete(vmx).await?;
                Ok(Answer::Nothing)
            }
            ("GET", ["restrictions"]) => {
                ok(json!({ "id": name, "managedOrg": "", "integrityconstraint": "" }))
            }
            ("GET", ["params", key]) => {
                let value = power::open_vmx(vmx)?.get(key).unwrap_or_default();
                ok(json!({ "name": key, "value": value }))
            }
            ("PUT", ["params"]) => {
                let mut config = power::open_vmx(vmx)?;
                config.set(&self.text("name")?, &self.text("value")?);
                files::write(vmx, config.render()).map_err(Refusal::from)?;
                ok(json!({ "Code": 0, "Message": "The operation was successful" }))
            }
            ("GET", ["power"]) => self.power_state(vmx).await,
            ("PUT", ["power"]) => self.set_power(vmx).await,
            ("GET", ["nic"]) => ok(cards(&power::open_vmx(vmx)?)),
            ("POST", ["nic"]) => self.add_card(vmx).await,
            ("DELETE", ["nic", index]) => self.remove_card(vmx, index).await,
            ("GET", ["ip"]) => {
                let view = self.with_tools(vmx).await?;
                let address = view.iter().flat_map(|(_, addresses)| addresses).next();
                let none = || Answer::from(Refusal::NoAddress);
                ok(json!({ "ip": address.ok_or_else(none)? }))
            }
            ("GET", ["nicips"]) => self.addresses(vmx).await,
            ("GET", ["sharedfolders"]) => ok(json!([])),
            _ => Err(Answer::NoSuchUrl),
        }
    }

    fn information(&self, vmx: &Path) -> Outcome {
        let config = power::open_vmx(vmx)?;
        let processors = number(&config, "numvcpus").unwrap_or(1);
        let memory = number(&config, "memsize").unwrap_or(0);
        ok(json!({ "id": id(vmx), "cpu": { "processors": processors }, "memory": memory }))
    }

    fn must_not_be_locked(&self, vmx: &Path) -> Result<(), Answer> {
        if faults::strikes(&self.orders.places, faults::REST_LOCKED, &vm_name(vmx)) {
            let message = "The virtual machine has been locked".to_owned();
            return Err(Answer::Error(StatusCode::CONFLICT, UNKNOWN, message));
        }
        Ok(())
    }

    async fn must_be_off(&self, vmx: &Path) -> Result<(), Answer> {
        match self.orders.view(vmx).await?.power {
            Power::Off => Ok(()),
            _ => Err(Refusal::AlreadyRunning.into()),
        }
    }

    async fn resize(&self, vmx: &Path) -> Outcome {
        self.must_be_off(vmx).await?;
        let (wish, mut config) = (self.json()?, power::open_vmx(vmx)?);
        for (key, vmx_key) in [("processors", "numvcpus"), ("memory", "memsize")] {
            if let Some(value) = wish.get(key) {
                let value = value.as_u64().ok_or_else(|| invalid(key))?;
                config.set(vmx_key, &value.to_string());
            }
        }
        files::write(vmx, config.render()).map_err(Refusal::from)?;
        self.information(vmx)
    }

    async fn power_state(&self, vmx: &Path) -> Outcome {
        let state = match self.orders.view(vmx).await?.power {
            Power::On => "poweredOn",
            Power::Off => "poweredOff",
            Power::Paused => "paused",
            Power::Suspended => "suspended",
        };
        ok(json!({ "power_state": state }))
    }

    /// The body is a bare word.
    async fn set_power(&self, vmx: &Path) -> Outcome {
        self.must_not_be_locked(vmx)?;
        let own = vmx.to_owned();
        match self.body.trim() {
            "on" => self.orders.start(vmx).await?,
            "off" => self.orders.stop(vmx, false).await?,
            "shutdown" => self.orders.stop(vmx, true).await?,
            "suspend" => self.orders.order(vmx, Request::Suspend { vmx: own }).await?,
            "pause" => self.orders.order(vmx, Request::Pause { vmx: own }).await?,
            "unpause" => self.orders.order(vmx, Request::Unpause { vmx: own }).await?,
            _ => return Err(invalid("operation")),
        }
        self.power_state(vmx).await
    }

    async fn with_tools(
        &self,
        vmx: &Path,
    ) -> Result<Vec<(crate::formats::mac::Mac, Vec<std::net::Ipv4Addr>)>, Answer> {
        let view = self.orders.view(vmx).await?;
        match (view.power, view.tools) {
            (Power::Off, _) => Err(Refusal::NotPoweredOn(vmx.to_owned()).into()),
            (_, false) => Err(Refusal::NoTools(vmx.to_owned()).into()),
            _ => Ok(view.cards),
        }
    }

    async fn addresses(&self, vmx: &Path) -> Outcome {
        let cards = self.with_tools(vmx).await?;
        let card = |(mac, addresses): &(_, Vec<_>)| {
            let ips: Vec<String> = addresses.iter().map(|ip| format!("{ip}/24")).collect();
            json!({ "mac": mac, "ip": ips, "dns": null, "wins": null, "dhcp4": null, "dhcp6": null })
        };
        let nics: Vec<Value> = cards.iter().map(card).collect();
        ok(json!({ "nics": nics, "routes": [], "dns": {}, "wins": {}, "dhcpv4": {}, "dhcpv6": {} }))
    }

    /// A new card is always an e1000, and its MAC cannot be chosen.
    async fn add_card(&self, vmx: &Path) -> Outcome {
        self.must_be_off(vmx).await?;
        let kind = self.text("type")?;
        let wished = self.json()?.get("vmnet").and_then(Value::as_str).map(str::to_owned);
        let vmnet = match (kind.as_str(), wished) {
            ("custom", vmnet) => Some(vmnet.ok_or_else(|| invalid("vmnet"))?),
            ("nat" | "bridged" | "hostonly", None) => None,
            ("nat" | "bridged" | "hostonly", Some(vmnet)) => {
                let message = format!("Redundant parameter: {vmnet}");
                return Err(Answer::Error(StatusCode::BAD_REQUEST, REDUNDANT, message));
            }
            _ => return Err(invalid("type")),
        };
        let mut config = power::open_vmx(vmx)?;
        let free = (0..10).find(|card| !power::is_true(&config, &format!("ethernet{card}.present")));
        let card = free.ok_or_else(|| invalid("index"))?;
        for (key, value) in [("present", "TRUE"), ("virtualDev", "e1000"), ("addressType", "generated")] {
            config.set(&format!("ethernet{card}.{key}"), value);
        }
        config.set(&format!("ethernet{card}.connectionType"), &kind);
        if let Some(vmnet) = vmnet {
            config.set(&format!("ethernet{card}.vnet"), &vmnet);
        }
        files::write(vmx, config.render()).map_err(Refusal::from)?;
        let made = describe_card(&config, card).ok_or(Answer::NoSuchUrl)?;
        Ok(Answer::Value(StatusCode::CREATED, made))
    }

    async fn remove_card(&self, vmx: &Path, index: &str) -> Outcome {
        self.must_be_off(vmx).await?;
        let card = index.parse::<u32>().ok().and_then(|index| index.checked_sub(1));
        let mut config = power::open_vmx(vmx)?;
        let card = card.filter(|card| describe_card(&config, *card).is_some()).ok_or_else(|| {
            let message = "The network adapter cannot be found".to_owned();
            Answer::Error(StatusCode::NOT_FOUND, UNKNOWN, message)
        })?;
        let prefix = format!("ethernet{card}.");
        let keys: Vec<String> = config.keys().map(str::to_owned).collect();
        for key in keys.iter().filter(|key| key.to_ascii_lowercase().starts_with(&prefix)) {
            config.remove(key);
        }
        files::write(vmx, config.render()).map_err(Refusal::from)?;
        Ok(Answer::Nothing)
    }

    fn networks(&self) -> Outcome {
        let networks = Networks::load(&self.orders.places).map_err(Refusal::from)?;
        let mut rows =
            vec![json!({ "name": "vmnet0", "type": "bridged", "dhcp": "false", "subnet": "", "mask": "" })];
        for (number, network) in networks.configured() {
            rows.push(json!({
                "name": format!("vmnet{number}"),
                "type": if network.nat { "nat" } else { "hostOnly" },
                "dhcp": network.dhcp.to_string(),
                "subnet": network.subnet.network(),
                "mask": network.subnet.netmask(),
            }));
        }
        ok(json!({ "num": rows.len(), "vmnets": rows }))
    }

    fn database(&self, vmnet: &str) -> Result<(u8, crate::formats::networking::Document), Answer> {
        let database = network::database(&self.orders.places).map_err(Refusal::from)?;
        let number = vmnet.strip_prefix("vmnet").and_then(|number| number.parse().ok());
        match number.filter(|number| database.vmnet(*number).exists) {
            Some(number) => Ok((number, database)),
            None => Err(Answer::Error(StatusCode::NOT_FOUND, UNKNOWN, Refusal::NoNetwork.to_string())),
        }
    }

    fn reservations(&self, vmnet: &str) -> Outcome {
        let (number, database) = self.database(vmnet)?;
        let row = |(mac, address)| json!({ "vmnet": vmnet, "mac": mac, "ip": address });
        let rows: Vec<Value> = database.reservations(number).into_iter().map(row).collect();
        ok(json!({ "num": rows.len(), "mactoips": rows }))
    }

    fn forwards(&self, vmnet: &str) -> Outcome {
        let (number, database) = self.database(vmnet)?;
        let forwards = database.port_forwards(number);
        let rows: Vec<Value> = forwards
            .iter()
            .map(|forward| {
                json!({
                    "port": forward.host_port,
                    "protocol": format!("{:?}", forward.protocol).to_lowercase(),
                    "desc": forward.description,
                    "guest": { "ip": forward.guest, "port": forward.guest_port },
                })
            })
            .collect();
        ok(json!({ "num": rows.len(), "port_forwardings": rows }))
    }
}

/// Returns a VM's id: 32 digits that follow from its path.
pub fn id(vmx: &Path) -> String {
    let digest = Sha256::digest(vmx.as_os_str().as_encoded_bytes());
    digest.iter().take(ID_LENGTH).map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
}

fn cards(config: &Vmx) -> Value {
    let nics: Vec<Value> = (0..10).filter_map(|card| describe_card(config, card)).collect();
    json!({ "num": nics.len(), "nics": nics })
}

/// Describes a card; the index counts from 1.
fn describe_card(config: &Vmx, card: u32) -> Option<Value> {
    let get = |key: &str| config.get(&format!("ethernet{card}.{key}"));
    if !power::is_true(config, &format!("ethernet{card}.present")) {
        return None;
    }
    let kind = get("connectionType").unwrap_or_else(|| "bridged".to_owned());
    let vmnet = match kind.as_str() {
        "custom" => get("vnet").unwrap_or_default(),
        "nat" => "vmnet8".to_owned(),
        "hostonly" => "vmnet1".to_owned(),
        _ => "vmnet0".to_owned(),
    };
    let mac = get("address").or_else(|| get("generatedAddress")).unwrap_or_default();
    Some(json!({ "index": card + 1, "type": kind, "vmnet": vmnet, "macAddress": mac }))
}
