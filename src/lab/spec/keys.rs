//! Every key of the lab file, declared once: its type, its usual value and its meaning.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use Usual::{Derived, Example, Live, Section};
use ipnet::Ipv4Net;
use serde_json::{Map, Value as Json, json};

use super::image_values::{Digest, GuestOs, ImageName, ImageUrl, Mirror};
use super::reader::{Key, Read, Reader, Usual};
use super::tree::Node;
use super::values::{
    Advert, AuthorizedKey, Disk, DnsName, FileVersion, Interface, Label, Memory, Port, Vmnet, Whole,
};
use super::{described, joined};
use crate::lab::catalogue::{self, Version};
use crate::lab::limits::Limits;
use crate::lab::presets::Preset;
use crate::lab::{Addressing, CloneMode, Driver};

/// Declares a mapping of the lab file and all its keys.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $usual:expr,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: Option<$type>,)+
        }

        impl Read for $name {
            const KIND: &'static str = "section";

            fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                let mut section = Self::default();
                for (key, value) in reader.entries(node, &[$(stringify!($key)),+])? {
                    $(if key == stringify!($key) {
                        section.$key = reader.at(key, value, |reader| <$type as Read>::read(value, reader));
                    })+
                }
                Some(section)
            }

            fn schema() -> Json {
                let mut properties = Map::new();
                $(properties.insert(stringify!($key).to_owned(), described(<$type as Read>::schema(), concat!($($doc),+), $usual));)+
                json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties })
            }

            fn list_keys(path: &str, keys: &mut Vec<Key>) {
                $(
                    let path_of_key = joined(path, stringify!($key));
                    keys.push(Key {
                        path: path_of_key.clone(),
                        kind: <$type as Read>::KIND,
                        usual: $usual,
                        doc: concat!($($doc),+).trim_ascii(),
                    });
                    <$type as Read>::list_keys(&path_of_key, keys);
                )+
            }
        }
    };
}

section! {
    /// The whole file.
    Spec {
        /// The form of this file. The only key that must be there.
        version: FileVersion = Live("1"),
        /// The lab's name. VM folders, the kubeconfig context and the MAC addresses follow from it.
        name: Label = Live("lab"),
        /// How many machines: ha is the networking document (2 gateways, 3 control planes, 2 workers), small has one of each, solo has a gateway and one control plane that takes workloads.
        preset: Preset = Live("ha"),
        /// The home network, which the gateways are bridged to.
        lan: LanSpec = Section,
        /// The cluster's own network, made in Fusion with NAT and DHCP.
        internal: InternalSpec = Section,
        /// The machines with nginx and Keepalived.
        gateways: GatewaysSpec = Section,
        /// The machines with the API server and etcd.
        control_planes: ControlPlanesSpec = Section,
        /// The machines that run the pods.
        workers: WorkersSpec = Section,
        /// Exceptions for single machines, by name.
        nodes: Nodes = Section,
        /// What kubeadm, Cilium and the Gateway API are told.
        kubernetes: KubernetesSpec = Section,
        /// The DNS suffix of published applications. Not .local: macOS asks multicast DNS for that.
        domain: DnsName = Live("lab.test"),
        /// What the LAN's VIP forwards, and to where.
        ports: PortsSpec = Section,
        /// The cloud image to make the template from: a name of the catalogue, or a section: name and mirror of one of the catalogue, or url, digest and guest_os of your own.
        image: ImageSpec = Live("ubuntu-24.04"),
        /// How a VM is made from the template: linked is quick and tied to it, full is a whole copy, cow is a copy-on-write copy (APFS).
        clone: CloneMode = Live("linked"),
        /// What handles VMs: vmrun, or rest for Fusion's vmrest where it can.
        driver: Driver = Live("vmrun"),
        /// How machines hold their internal address: dhcp by a reservation, static by a setting in the guest; the reservation is made either way.
        addressing: Addressing = Live("dhcp"),
        /// Who may log in to the machines.
        ssh: SshSpec = Section,
        /// How long each requirement may take, in seconds.
        limits: LimitsSpec = Section,
    }
}

section! {
    /// The home network.
    LanSpec {
        /// The subnet of the home network.
        subnet: Ipv4Net = Live("192.168.68.0/24"),
        /// The home router, the gateways' default route. Usually .1 of the subnet.
        router: Ipv4Addr = Derived("192.168.68.1"),
        /// The gateways' DNS servers. Usually the router.
        dns: Vec<Ipv4Addr> = Derived("[192.168.68.1]"),
        /// The address that users know; Keepalived moves it between the gateways. Usually .200 of the subnet.
        vip: Ipv4Addr = Derived("192.168.68.200"),
        /// The Mac's interface to bridge to. Usually Fusion chooses.
        interface: Interface = Example("en0"),
    }
}

section! {
    /// The cluster's own network.
    InternalSpec {
        /// The number of Fusion's network: 2 is vmnet2. 0, 1 and 8 are Fusion's own.
        vmnet: Vmnet = Live("2"),
        /// The subnet. Fusion takes .1 for the Mac, .2 for NAT, and gives away the upper half by DHCP.
        subnet: Ipv4Net = Live("10.10.0.0/24"),
        /// The nodes' way to the API server, held by the same gateway as the LAN's VIP. Usually .10 of the subnet.
        vip: Ipv4Addr = Derived("10.10.0.10"),
    }
}

section! {
    /// The gateways.
    GatewaysSpec {
        /// How many, if not as the preset says: 1 or 2. They are gateway1 and gateway2, .56 and .57 on the LAN, .11 and .12 inside.
        count: Whole<1, 2> = Derived("2"),
        /// Processors of each.
        cpus: Whole<1, 32> = Live("1"),
        /// Memory of each.
        memory: Memory = Live("1GiB"),
        /// Disk of each. With linked clones all machines share the template's size; otherwise 10GiB.
        disk: Disk = Derived("40GiB"),
        /// Seconds between VRRP adverts. A lost gateway is noticed after about three.
        advert: Advert = Live("0.2"),
        /// The VRRP router id, 1 to 255; any other VRRP on the internal network needs another.
        router_id: Whole<1, 255> = Live("51"),
    }
}

section! {
    /// The control planes.
    ControlPlanesSpec {
        /// How many, if not as the preset says: 1 to 7, best an odd number. They are k8s-master1 and so on, from .131.
        count: Whole<1, 7> = Derived("3"),
        /// Processors of each; kubeadm wants 2.
        cpus: Whole<1, 32> = Live("2"),
        /// Memory of each; kubeadm wants 1700 MB.
        memory: Memory = Live("4GiB"),
        /// Disk of each.
        disk: Disk = Derived("40GiB"),
        /// Whether they run pods as well. Usually only if there are no workers.
        schedulable: bool = Derived("false"),
    }
}

section! {
    /// The workers.
    WorkersSpec {
        /// How many, if not as the preset says: 0 to 9. They are k8s-worker1 and so on, from .141.
        count: Whole<0, 9> = Derived("2"),
        /// Processors of each.
        cpus: Whole<1, 32> = Live("2"),
        /// Memory of each.
        memory: Memory = Live("4GiB"),
        /// Disk of each.
        disk: Disk = Derived("40GiB"),
    }
}

section! {
    /// What one machine has that others of its role do not.
    NodeSpec {
        /// Its address on the internal network.
        address: Ipv4Addr = Example("10.10.0.41"),
        /// Its address on the LAN; a node gets a second card for it.
        lan_address: Ipv4Addr = Example("192.168.68.58"),
        /// Its processors.
        cpus: Whole<1, 32> = Example("4"),
        /// Its memory.
        memory: Memory = Example("8GiB"),
        /// Its disk; not with linked clones.
        disk: Disk = Example("40GiB"),
    }
}

section! {
    /// What Kubernetes is told.
    KubernetesSpec {
        /// The version of Kubernetes.
        version: Version = Live("1.36.4"),
        /// The pods' network. Each node takes a /24 of it.
        pods: Ipv4Net = Live("10.244.0.0/16"),
        /// The Services' network, /12 to /28.
        services: Ipv4Net = Live("10.96.0.0/12"),
        /// The name of the API server inside; every node's hosts file maps it to the internal VIP.
        api_name: DnsName = Live("k8s-api.lab.internal"),
        /// More DNS names of the API server, for its certificate; a cluster that stands is given a new one.
        api_names: Vec<DnsName> = Live("[]"),
        /// The version of Cilium.
        cilium: Version = Live("1.20.3"),
        /// The version of the Gateway API's definitions, standard channel.
        gateway_api: Version = Live("1.6.1"),
        /// The version of Helm on the control planes.
        helm: Version = Live("3.18.6"),
        /// The least version of containerd that will do.
        containerd: Version = Live("2.2.1"),
        /// Whether nginx tells Cilium the client's address by the PROXY protocol.
        proxy_protocol: bool = Live("false"),
    }
}

section! {
    /// Ports of the VIP and behind it.
    PortsSpec {
        /// The API server, on the VIP and on the control planes.
        api: Port = Live("6443"),
        /// HTTP on the VIP.
        http: Port = Live("80"),
        /// The NodePort behind http.
        http_node_port: Port = Live("30080"),
        /// HTTPS on the VIP; TLS is passed through.
        https: Port = Live("443"),
        /// The NodePort behind https.
        https_node_port: Port = Live("30443"),
    }
}

section! {
    /// An image in full.
    ImageKeys {
        /// The catalogue's name of it. Usually ubuntu-24.04; not with url.
        name: ImageName = Example("ubuntu-24.04"),
        /// Another server that has the catalogue's images in the same folders; its URL takes the place of theirs.
        mirror: Mirror = Example("https://mirror.example.org/ubuntu-cloud-images/"),
        /// Where an image of your own is: https://…, http://…, or a path (./noble.img is beside this file); qcow2 or raw, with cloud-init.
        url: ImageUrl = Example("./noble.img"),
        /// The SHA-256 or SHA-512 of an image of your own, in hexadecimal. It must be there.
        digest: Digest = Example("\"0000000000000000000000000000000000000000000000000000000000000000\""),
        /// Fusion's guestOS word for it. Usually that of Ubuntu.
        guest_os: GuestOs = Example("arm-ubuntu-64"),
    }
}

section! {
    /// Who may log in.
    SshSpec {
        /// Public keys, besides the lab's own, that may log in as fusionlab; one line each, as in a .pub file.
        authorized_keys: Vec<AuthorizedKey> = Live("[]"),
    }
}

/// Exceptions for single machines, by name; which names exist is for `resolve` to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nodes(pub BTreeMap<String, NodeSpec>);

/// Stands for any machine's name in a key's path.
pub const ANY_NODE: &str = "<node>";

impl Read for Nodes {
    const KIND: &'static str = "section";

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let mut nodes = BTreeMap::new();
        for (name, at, value) in reader.any_entries(node)? {
            reader.origin.name(&joined(&reader.path, name), at);
            let read = reader.at(name, value, |reader| NodeSpec::read(value, reader));
            nodes.insert(name.to_owned(), read.unwrap_or_default());
        }
        Some(Self(nodes))
    }

    fn schema() -> Json {
        json!({ "type": ["object", "null"], "additionalProperties": NodeSpec::schema() })
    }

    fn list_keys(path: &str, keys: &mut Vec<Key>) {
        NodeSpec::list_keys(&joined(path, ANY_NODE), keys);
    }
}

/// Which image, by name or in full.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageSpec {
    Named(String),
    Described(ImageKeys),
}

impl Read for ImageSpec {
    const KIND: &'static str = "name or section";

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node.scalar() {
            Some(name) => Some(Self::Named(name.to_owned())),
            None => ImageKeys::read(node, reader).map(Self::Described),
        }
    }

    fn schema() -> Json {
        let names: Vec<_> = catalogue::images().map(|(name, _)| name).collect();
        let mut described = ImageKeys::schema();
        described["type"] = json!("object");
        described["properties"]["name"]["enum"] = json!(names);
        described["dependentRequired"] = json!({ "url": ["digest"], "digest": ["url"] });
        json!({ "oneOf": [{ "enum": names }, described] })
    }

    fn list_keys(path: &str, keys: &mut Vec<Key>) {
        ImageKeys::list_keys(path, keys);
    }
}

/// Deadlines by their names in [`Limits::TABLE`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsSpec(pub BTreeMap<String, Duration>);

impl Read for LimitsSpec {
    const KIND: &'static str = "section";

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let names: Vec<_> = Limits::TABLE.iter().map(|(name, _, _)| *name).collect();
        let mut limits = BTreeMap::new();
        for (name, value) in reader.entries(node, &names)? {
            if let Some(limit) = reader.at(name, value, |reader| Duration::read(value, reader)) {
                limits.insert(name.to_owned(), limit);
            }
        }
        Some(Self(limits))
    }

    fn schema() -> Json {
        let mut properties = Map::new();
        for (name, doc, seconds) in Limits::TABLE {
            let mut schema = <Duration as Read>::schema();
            schema["description"] = json!(doc.trim());
            schema["default"] = json!(seconds);
            properties.insert((*name).to_owned(), schema);
        }
        json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties })
    }

    fn list_keys(path: &str, keys: &mut Vec<Key>) {
        keys.extend(Limits::TABLE.iter().map(|(name, doc, seconds)| Key {
            path: joined(path, name),
            kind: <Duration as Read>::KIND,
            usual: Usual::Limit(*seconds),
            doc: doc.trim_ascii(),
        }));
    }
}
