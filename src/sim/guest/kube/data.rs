//! What etcd holds: members, cluster-wide facts, and every object as JSON.
//!
//! A change works on a copy of everything and is compared with what was, so copies share the objects that they do not change:
//! nothing else in a simulated lab is copied and compared as often.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One cluster's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Counts every change; of several disks the highest is the truth.
    pub revision: u64,
    /// Hash of the CA's public key: the cluster's identity.
    pub ca_hash: String,
    /// Kubernetes' version, such as `v1.36.4`.
    pub version: String,
    pub members: BTreeMap<String, Member>,
    /// `resource/namespace/name` → object.
    #[serde(serialize_with = "write_objects", deserialize_with = "read_objects")]
    objects: BTreeMap<Arc<str>, Arc<Value>>,
    next_number: u64,
}

/// An etcd member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub id: u64,
    pub peer: Ipv4Addr,
    pub learner: bool,
    /// Whether it ever came up: an added member has no name before.
    pub started: bool,
}

/// A member's data directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EtcdOnDisk {
    pub name: String,
    #[serde(serialize_with = "write_shared", deserialize_with = "read_shared")]
    pub data: Arc<Data>,
}

fn write_shared<S: Serializer>(data: &Arc<Data>, to: S) -> Result<S::Ok, S::Error> {
    data.as_ref().serialize(to)
}

fn read_shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Data>, D::Error> {
    Data::deserialize(from).map(Arc::new)
}

fn write_objects<S: Serializer>(objects: &BTreeMap<Arc<str>, Arc<Value>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(objects.iter().map(|(key, object)| (&**key, &**object)))
}

fn read_objects<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Arc<str>, Arc<Value>>, D::Error> {
    let objects = BTreeMap::<String, Value>::deserialize(from)?;
    Ok(objects.into_iter().map(|(key, object)| (key.into(), Arc::new(object))).collect())
}

fn key(id: &str, namespace: &str, name: &str) -> String {
    format!("{id}/{namespace}/{name}")
}

impl Data {
    pub fn get(&self, id: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(key(id, namespace, name).as_str()).map(|object| &**object)
    }

    pub fn get_mut(&mut self, id: &str, namespace: &str, name: &str) -> Option<&mut Value> {
        self.objects.get_mut(key(id, namespace, name).as_str()).map(Arc::make_mut)
    }

    /// Returns the objects of a kind, of one namespace or of all, by namespace and name.
    pub fn list(&self, id: &str, namespace: Option<&str>) -> Vec<&Value> {
        let prefix = namespace.map_or_else(|| format!("{id}/"), |namespace| format!("{id}/{namespace}/"));
        self.objects
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| &**object)
            .collect()
    }

    /// Stores an object as it is.
    pub fn store(&mut self, id: &str, object: Value) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.objects.insert(key(id, &namespace, &name).into(), Arc::new(object));
    }

    /// Removes an object and everything it owns, or that lies in it if it is a namespace.
    pub fn remove(&mut self, id: &str, namespace: &str, name: &str) -> bool {
        let Some(gone) = self.objects.remove(key(id, namespace, name).as_str()) else { return false };
        if id == "namespaces" {
            self.objects.retain(|_, object| object["metadata"]["namespace"] != name);
        }
        let uid = gone["metadata"]["uid"].clone();
        let owned = |object: &Value| {
            object["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|owner| owner["uid"] == uid)
        };
        let orphans: Vec<Arc<str>> = self
            .objects
            .iter()
            .filter(|(_, object)| !uid.is_null() && owned(object))
            .map(|(key, _)| key.clone())
            .collect();
        for orphan in orphans {
            let mut parts = orphan.splitn(3, '/').map(str::to_owned);
            if let (Some(id), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) {
                self.remove(&id, &namespace, &name);
            }
        }
        true
    }

    /// Returns a number that was never returned before.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes another's count of numbers, to compare what else differs.
    pub fn number_as(&mut self, other: &Self) {
        self.next_number = other.next_number;
    }

    /// Returns how many members vote.
    pub fn voters(&self) -> usize {
        self.members.values().filter(|member| !member.learner).count()
    }
}

/// Says whether a condition of an object is `True`.
pub fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
}

/// Sets a condition; its transition time changes only with its status.
pub fn set_condition(object: &mut Value, kind: &str, holds: bool, reason: &str, message: &str, now: &str) {
    let status = if holds { "True" } else { "False" };
    let generation = object["metadata"]["generation"].as_u64().unwrap_or(1);
    let slot = &mut object["status"]["conditions"];
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Some(all) = slot.as_array_mut() else { return };
    let old = all.iter().find(|one| one["type"] == kind);
    let since = old
        .filter(|one| one["status"] == status)
        .map_or_else(|| now.into(), |one| one["lastTransitionTime"].clone());
    let new = serde_json::json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since, "observedGeneration": generation,
    });
    match all.iter_mut().find(|one| one["type"] == kind) {
        Some(old) => *old = new,
        None => all.push(new),
    }
}

/// Returns a time as Kubernetes writes it.
pub fn timestamp(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days to a civil date, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_709_210_096_789), "2024-02-29T12:34:56Z");
    }

    #[test]
    fn what_an_object_owns_goes_with_it() {
        let mut data = Data::default();
        data.store("gateways", serde_json::json!({"metadata": {"name": "g", "namespace": "n", "uid": "1"}}));
        data.store("services", serde_json::json!({"metadata": {"name": "s", "namespace": "n", "ownerReferences": [{"uid": "1"}]}}));
        assert!(data.remove("gateways", "n", "g"));
        assert!(data.get("services", "n", "s").is_none());
    }
}
