//! `nat.conf`, the configuration of Fusion's NAT service: an INI file (facts/fusion-networking.md §3.2).

use std::fmt::Write;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::conf::nth;
use crate::formats::lines;
use crate::formats::networking::{PortForward, Protocol};

/// Seconds after which a UDP mapping is forgotten, if the network does not say otherwise.
const UDP_TIMEOUT: u32 = 60;
/// The sections that hold forwarded ports.
const FORWARDS: [(&str, Protocol); 2] = [("incomingtcp", Protocol::Tcp), ("incomingudp", Protocol::Udp)];

/// What a network's `nat.conf` is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatConf<'a> {
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    /// Seconds; none for Fusion's default.
    pub udp_timeout: Option<u32>,
    pub forwards: &'a [PortForward],
}

/// What a `nat.conf` says, whoever wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatFile {
    sections: Vec<Section>,
    /// What stands above the first section, and lines that are no entries.
    stray: Vec<NatProblem>,
}

/// A `[name]` with the entries below it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    name: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    key: String,
    value: String,
    /// The trailing comment, which describes a forwarded port.
    comment: String,
}

/// A line of a `nat.conf` that the NAT service cannot use.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct NatProblem {
    /// Counts from 1.
    pub line: usize,
    pub reason: String,
}

impl NatFile {
    /// Reads a `nat.conf`. A line that is neither a section, an entry nor a comment is one of its
    /// [problems](Self::problems).
    pub fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for (at, line) in lines::split(text).iter().enumerate() {
            file.read(at + 1, line.text.trim());
        }
        file
    }

    fn read(&mut self, line: usize, text: &str) {
        if text.is_empty() || text.starts_with('#') || text.starts_with(';') {
            return;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|rest| Some(rest.split_once(']')?.0)) {
            self.sections.push(Section { name: name.trim().to_owned(), entries: Vec::new() });
            return;
        }
        let (content, comment) = text.split_once('#').unwrap_or((text, ""));
        let entry = content.split_once('=').map(|(key, value)| Entry {
            line,
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
            comment: comment.trim().to_owned(),
        });
        match (self.sections.last_mut(), entry) {
            (Some(section), Some(entry)) => section.entries.push(entry),
            (None, Some(_)) => self.stray(line, "an entry above the first section"),
            (_, None) => self.stray(line, "neither a section nor an entry"),
        }
    }

    fn stray(&mut self, line: usize, reason: &str) {
        self.stray.push(NatProblem { line, reason: reason.to_owned() });
    }

    /// Returns the sections' names in the file's order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|section| section.name.as_str())
    }

    /// Returns an entry's value; names are compared without regard to case, and the last entry counts.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let entry = self.entries(section).filter(|entry| entry.key.eq_ignore_ascii_case(key)).last()?;
        Some(&entry.value)
    }

    fn entries(&self, section: &str) -> impl Iterator<Item = &Entry> {
        let named = self.sections.iter().filter(move |of| of.name.eq_ignore_ascii_case(section));
        named.flat_map(|section| &section.entries)
    }

    /// Returns the NAT service's own address. Windows writes it with a prefix length, which is passed over.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let value = self.get("host", "ip")?;
        value.split_once('/').map_or(value, |(address, _)| address).parse().ok()
    }

    /// Returns the forwarded ports, TCP before UDP, in the file's order. Those that the service cannot use are
    /// among the [problems](Self::problems).
    pub fn forwards(&self) -> Vec<PortForward> {
        self.all_forwards().filter_map(Result::ok).collect()
    }

    /// Returns the lines that the service cannot use, in order. A forward without a guest, such as `2222 = :22`,
    /// keeps Fusion's networks from starting at all (hashicorp/vagrant#1994).
    pub fn problems(&self) -> Vec<NatProblem> {
        let mut problems = self.stray.clone();
        problems.extend(self.all_forwards().filter_map(Result::err));
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    fn all_forwards(&self) -> impl Iterator<Item = Result<PortForward, NatProblem>> {
        FORWARDS
            .into_iter()
            .flat_map(|(section, protocol)| self.entries(section).map(move |entry| entry.forward(protocol)))
    }
}

impl Entry {
    fn forward(&self, protocol: Protocol) -> Result<PortForward, NatProblem> {
        let bad = |what: &str| NatProblem {
            line: self.line,
            reason: format!("{} = {} forwards nothing: {what}", self.key, self.value),
        };
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0);
        let host_port = port(&self.key).ok_or_else(|| bad("the host's port is not a port"))?;
        let (guest, guest_port) = self.value.split_once(':').ok_or_else(|| bad("expected <guest>:<port>"))?;
        let guest = guest.trim();
        if guest.is_empty() {
            return Err(bad("the guest is missing, and Fusion's networks do not start"));
        }
        Ok(PortForward {
            protocol,
            host_port,
            guest: guest.parse().map_err(|_| bad("the guest is not an IPv4 address"))?,
            guest_port: port(guest_port).ok_or_else(|| bad("the guest's port is not a port"))?,
            description: self.comment.clone(),
        })
    }
}

/// Returns the forwarded ports of a `nat.conf`.
pub fn nat_forwards(text: &str) -> Vec<PortForward> {
    NatFile::parse(text).forwards()
}

impl NatConf<'_> {
    /// Returns the file's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string cannot fail");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { vmnet, subnet, .. } = self;
        writeln!(out, "# NAT configuration file of vmnet{vmnet}.\n\n[host]\n")?;
        writeln!(out, "useMacosVmnetVirtApi = 1\nip = {}\nnetmask = {}", nth(*subnet, 2), subnet.netmask())?;
        writeln!(out, "device = vmnet{vmnet}\nactiveFTP = 1\nallowAnyOUI = 1\nhostIp = {}", nth(*subnet, 1))?;
        writeln!(out, "resetConnectionOnLinkDown = 1\nresetConnectionOnDestLocalHost = 1\nnatIp6Enable = 0")?;
        writeln!(out, "natIp6Prefix = fd15:4ba5:5a2b:{}::/64\n", 1000 + u32::from(*vmnet))?;
        let udp_timeout = self.udp_timeout.unwrap_or(UDP_TIMEOUT);
        writeln!(out, "[tcp]\n\ntimeWaitTimeout = 30\n\n[udp]\n\ntimeout = {udp_timeout}\n")?;
        writeln!(out, "[netbios]\n\nnbnsTimeout = 2\nnbnsRetries = 3\nnbdsTimeout = 3\n")?;
        for (section, protocol) in FORWARDS {
            writeln!(out, "[{section}]\n")?;
            for forward in self.forwards.iter().filter(|forward| forward.protocol == protocol) {
                let PortForward { host_port, guest, guest_port, description, .. } = forward;
                let comment =
                    if description.is_empty() { String::new() } else { format!(" # {description}") };
                writeln!(out, "{host_port} = {guest}:{guest_port}{comment}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet() -> Ipv4Net {
        "10.10.0.0/24".parse().unwrap()
    }

    #[test]
    fn a_nat_conf_has_the_forwards_by_protocol() {
        let forward = |protocol, host_port, description: &str| PortForward {
            protocol,
            host_port,
            guest: Ipv4Addr::new(10, 10, 0, 3),
            guest_port: 22,
            description: description.to_owned(),
        };
        let forwards = [forward(Protocol::Udp, 53, ""), forward(Protocol::Tcp, 2222, "web")];
        let text = NatConf { vmnet: 2, subnet: subnet(), udp_timeout: None, forwards: &forwards }.render();
        let (before, udp) = text.split_once("[incomingudp]").unwrap();
        assert!(
            before.contains("[incomingtcp]\n\n2222 = 10.10.0.3:22 # web\n")
                && udp.contains("53 = 10.10.0.3:22\n")
        );
        assert!(
            text.contains("ip = 10.10.0.2\n") && text.contains("natIp6Prefix = fd15:4ba5:5a2b:1002::/64")
        );
    }

    #[test]
    fn a_nat_conf_is_read_as_people_leave_it() {
        let text = "# NAT\r\nstray = 1\r\n[host]\r\nip = 192.168.215.2/24\r\n# a = b\r\nopt = a=b c\r\n\r\n[ IncomingTCP ]\r\n\
                    2222 = 192.168.215.3:22  #vagrant: /Users/me/my box # 2\r\n3333 = :22\r\nnonsense\r\n0 = 1.2.3.4:5\r\n\
                    [incomingudp]\r\n53=192.168.215.3 : 5353\r\n54 = 192.168.215.3\r\n";
        let file = NatFile::parse(text);
        assert_eq!(file.sections().collect::<Vec<_>>(), ["host", "IncomingTCP", "incomingudp"]);
        assert_eq!(file.address(), Some(Ipv4Addr::new(192, 168, 215, 2)));
        assert_eq!(file.get("HOST", "Opt"), Some("a=b c"));
        assert_eq!((file.get("host", "a"), file.get("none", "a")), (None, None));
        let forwards = file.forwards();
        assert_eq!(forwards.len(), 2);
        assert_eq!((forwards[0].host_port, forwards[0].guest_port), (2222, 22));
        assert_eq!(forwards[0].description, "vagrant: /Users/me/my box # 2");
        assert_eq!((forwards[1].protocol, forwards[1].guest_port), (Protocol::Udp, 5353));
        let problems: Vec<_> = file.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "line 2: an entry above the first section",
                "line 10: 3333 = :22 forwards nothing: the guest is missing, and Fusion's networks do not start",
                "line 11: neither a section nor an entry",
                "line 12: 0 = 1.2.3.4:5 forwards nothing: the host's port is not a port",
                "line 15: 54 = 192.168.215.3 forwards nothing: expected <guest>:<port>",
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ports in proptest::collection::btree_set(1_u16.., 0..6), guest: [u8; 4], description in "([a-z/:][a-z/: ]{0,9}[a-z])?") {
            let forward = |host_port: u16| PortForward {
                protocol: Protocol::Tcp,
                host_port,
                guest: guest.into(),
                guest_port: host_port ^ 1 | 2,
                description: description.clone(),
            };
            let forwards: Vec<_> = ports.into_iter().map(forward).collect();
            let conf = NatConf { vmnet: 2, subnet: subnet(), udp_timeout: Some(30), forwards: &forwards };
            let file = NatFile::parse(&conf.render());
            prop_assert_eq!(file.forwards(), forwards);
            prop_assert_eq!(file.problems(), []);
            prop_assert_eq!(file.get("udp", "timeout"), Some("30"));
        }

        #[test]
        fn any_text_can_be_read(text in "(\\[incomingtcp\\]\n|[=:#\n\r ]|1\\.2\\.3\\.4|22|\\PC){0,30}") {
            let file = NatFile::parse(&text);
            prop_assert!(file.forwards().len() + file.problems().len() <= text.split(['\n', '\r']).count());
        }
    }
}
