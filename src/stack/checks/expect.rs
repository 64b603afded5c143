//! What must have been seen, as a value that [`judge`](crate::stack::judge::judge) compares and in words for people.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::formats::figures::count;
use crate::formats::mac::Mac;
use crate::lab::limits::CERTIFICATE_RENEWAL;
use crate::stack::validity::long;

/// What must have been seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// The command succeeds.
    Success,
    /// Success, and exactly this text but for white space around it.
    Text(String),
    /// Success, and each of these somewhere in the text, whatever its case and the width of its gaps.
    Contains(Vec<String>),
    /// The same, with words of its own for each machine that the answers are about; all of them must have answered.
    ContainsEach(BTreeMap<String, Vec<String>>),
    /// Success, and none of these anywhere in the text.
    Lacks(Vec<String>),
    /// Success, and nothing was printed.
    Nothing,
    /// Some HTTP status, whichever: the other side was reached.
    AnyHttpStatus,
    /// Of several URLs each answered, with this HTTP status or with any.
    Statuses(Option<u16>),
    /// Of several URLs, in this order: whether the other side was reached.
    Reached(Vec<bool>),
    /// Of several URLs none was reached.
    NoneReached,
    /// The test application's answer.
    Application { host: String },
    /// The same, whatever host it heard.
    AnyPod,
    /// Answers of the test application, from a pod on each of these nodes at least.
    Spread { host: String, nodes: BTreeSet<String> },
    /// Envoy's own answer for a host that no route takes.
    NoRoute,
    /// `etcdctl endpoint status`: so many voting members and one leader, without errors.
    Etcd { members: usize },
    /// `kubectl get nodes`: exactly these, Ready, at these addresses, all of this version.
    Nodes { addresses: BTreeMap<String, Ipv4Addr>, version: String },
    /// The object of this name exists.
    Object(String),
    /// This condition of the object is `True`.
    Condition(&'static str),
    /// Each of these HTTPRoutes is accepted by its Gateway and finds its backends.
    Routes(BTreeSet<String>),
    /// The Service's ports and their NodePorts.
    NodePorts(BTreeMap<u16, u16>),
    /// Every pod that is not on its machine's network has an address of this one, and there are some.
    PodsWithin(Ipv4Net),
    /// Every Service has an address of this network, and there are some.
    ServicesWithin(Ipv4Net),
    /// One default route, by this router.
    DefaultRoute(Ipv4Addr),
    /// For each other member a route to a part of the pod network, by its address.
    PodRoutes { pods: Ipv4Net, members: BTreeMap<String, Ipv4Addr> },
    /// Each of these machines answers.
    Answering(Vec<String>),
    /// Each machine holds these addresses.
    Addresses(BTreeMap<String, Vec<Ipv4Addr>>),
    /// None of these machines holds an address of this network.
    NoneWithin { nodes: Vec<String>, subnet: Ipv4Net },
    /// Exactly one of these machines holds any of the addresses, and it holds all.
    OneHolder { nodes: Vec<String>, addresses: Vec<Ipv4Addr> },
    /// No two clocks differ by more than these milliseconds.
    ClocksWithin(u64),
    /// No certificate ends within `CERTIFICATE_RENEWAL`.
    Lasting,
    /// The lab's network is so on the host.
    Vmnet(VmnetExpect),
}

/// What must be so of the lab's network on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum VmnetExpect {
    /// The networking file says this subnet, with NAT, DHCP and the host's own address.
    Configured(Ipv4Net),
    /// The DHCP server gives away exactly these addresses, first to last.
    Pool(Ipv4Addr, Ipv4Addr),
    /// Each of these is reserved, in the networking file and in the DHCP server's own.
    Reserved(Vec<(String, Mac, Ipv4Addr)>),
    /// None of these addresses is leased to another card.
    NotLeasedAway(Vec<(String, Mac, Ipv4Addr)>),
    /// NAT and DHCP run.
    Running,
}

impl Expect {
    /// Returns what is expected in a few words.
    pub fn words(&self) -> String {
        match self {
            Self::Success => "success".to_owned(),
            Self::Text(text) => format!("{text:?}"),
            Self::Contains(words) => words.join(", "),
            Self::ContainsEach(each) => contains_each(each),
            Self::Lacks(words) => format!("no {}", words.join(", no ")),
            Self::Nothing => "none".to_owned(),
            Self::AnyHttpStatus | Self::Statuses(None) => "an HTTP status from each".to_owned(),
            Self::Statuses(Some(status)) => format!("HTTP status {status} from each"),
            Self::Reached(order) => {
                let words = order.iter().map(|reached| if *reached { "reached" } else { "not reached" });
                words.collect::<Vec<_>>().join(", ")
            }
            Self::NoneReached => "none is reached".to_owned(),
            Self::Application { host } => format!("a pod's answer for {host}"),
            Self::AnyPod => "a pod's answer".to_owned(),
            Self::Spread { nodes, .. } => format!("answers from pods on {}", listed(nodes)),
            Self::NoRoute => "HTTP status 404 from Envoy".to_owned(),
            Self::Etcd { members } => {
                format!("{}, 1 leader, 0 learners, no errors", count(*members, "member"))
            }
            Self::Nodes { addresses, version } => format!("{} Ready, {version}", addresses.len()),
            Self::Object(name) => format!("{name} exists"),
            Self::Condition(kind) => format!("{kind} is True"),
            Self::Routes(names) => format!("Accepted and ResolvedRefs of {}", listed(names)),
            Self::NodePorts(ports) => arrows(ports),
            Self::PodsWithin(net) => format!("pods' addresses in {net}"),
            Self::ServicesWithin(net) => format!("Services' addresses in {net}"),
            Self::DefaultRoute(router) => format!("one default route, via {router}"),
            Self::PodRoutes { pods, members } => {
                format!("a part of {pods} via each of the {} others", members.len().saturating_sub(1))
            }
            Self::Answering(nodes) => format!("an answer from each of {}", nodes.len()),
            Self::Addresses(wanted) => format!("the addresses of {} machines", wanted.len()),
            Self::NoneWithin { subnet, .. } => format!("none in {subnet}"),
            Self::OneHolder { addresses, .. } => format!("one gateway with {}", listed(addresses)),
            Self::ClocksWithin(ms) => format!("at most {ms} ms apart"),
            Self::Lasting => format!("each lasts another {}", long(CERTIFICATE_RENEWAL.as_secs())),
            Self::Vmnet(wish) => wish.words(),
        }
    }
}

impl VmnetExpect {
    fn words(&self) -> String {
        match self {
            Self::Configured(subnet) => format!("{subnet} with NAT, DHCP and this Mac on it"),
            Self::Pool(first, last) => format!("{first} to {last}"),
            Self::Reserved(cards) => format!("{} reservations", cards.len()),
            Self::NotLeasedAway(_) => "none leased to another card".to_owned(),
            Self::Running => "NAT and DHCP run".to_owned(),
        }
    }
}

/// What all machines have in common, once; else how many there are.
fn contains_each(each: &BTreeMap<String, Vec<String>>) -> String {
    let mut all = each.values();
    let common: Vec<&String> = match all.next() {
        Some(first) => first.iter().filter(|word| each.values().all(|words| words.contains(word))).collect(),
        None => Vec::new(),
    };
    let on = format!("on each of {}", each.len());
    if common.is_empty() { format!("what is its own {on}") } else { format!("{} {on}", listed(common)) }
}

/// Returns `80 -> 30080, 443 -> 30443`.
pub fn arrows(ports: &BTreeMap<u16, u16>) -> String {
    let arrows: Vec<_> = ports.iter().map(|(port, node_port)| format!("{port} -> {node_port}")).collect();
    if arrows.is_empty() { "none".to_owned() } else { arrows.join(", ") }
}

fn listed<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}
