//! dnsmasq as the gateways run it: its configuration, read strictly, and its answers over TCP.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::state::Disk;
use crate::formats::dns::{self, Answer, Code, Question};
use crate::sim::seam::Wire;

/// Options without a value, and those whose value the model has no use for.
const FLAGS: &[&str] = &["no-resolv", "no-hosts", "no-poll", "bind-dynamic", "pid-file"];
const VALUES: &[&str] = &["port", "except-interface", "cache-size", "user", "group"];

/// A configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dnsmasq {
    listen: Vec<Ipv4Addr>,
    /// Domain → the address of every name in it.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// Domains that no other server is asked about.
    local: Vec<String>,
    seconds: u32,
}

impl Dnsmasq {
    /// Reads a configuration, as `dnsmasq --test` does; what neither it nor the model knows is refused.
    pub fn read(disk: &Disk, path: &str) -> Result<Self, String> {
        let text = disk.text(path).ok_or_else(|| format!("cannot read {path}: No such file or directory"))?;
        let mut read = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                read.take(line).map_err(|why| format!("{why} at line {number} of {path}"))?;
            }
        }
        Ok(read)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        let bad = || "bad option".to_owned();
        match key {
            "listen-address" => self.listen.push(value.parse().map_err(|_| bad())?),
            "local-ttl" => self.seconds = value.parse().map_err(|_| bad())?,
            "local" => self.local.push(domain(value).filter(|(_, rest)| rest.is_empty()).ok_or_else(bad)?.0),
            "address" => {
                let (domain, address) = domain(value).ok_or_else(bad)?;
                self.addresses.insert(domain, address.parse().map_err(|_| bad())?);
            }
            _ if FLAGS.contains(&key) && value.is_empty() => {}
            _ if VALUES.contains(&key) && !value.is_empty() => {}
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// Says whether it listens at one of the machine's addresses.
    pub fn listens(&self, address: Ipv4Addr) -> bool {
        self.listen.contains(&address)
    }

    /// Serves one connection: a question after the other.
    pub async fn serve(&self, mut wire: Wire) -> io::Result<()> {
        loop {
            let length = wire.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            wire.read_exact(&mut message).await?;
            let Some(question) = dns::read_question(&message) else { return Ok(()) };
            wire.write_all(&dns::answer(&question, &self.answer(&question), self.seconds)).await?;
        }
    }

    /// The longest domain that the name is in counts; without other servers, any other name is refused.
    fn answer(&self, question: &Question) -> Answer {
        let is_in = |domain: &&str| {
            let rest = question.name.strip_suffix(*domain);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let longest = self.addresses.keys().map(String::as_str).filter(is_in).max_by_key(|name| name.len());
        let address = longest.and_then(|domain| self.addresses.get(domain));
        let is_local = address.is_some() || self.local.iter().map(String::as_str).any(|name| is_in(&name));
        let code = match (address, is_local) {
            (Some(_), _) => Code::Good,
            (None, true) => Code::NoSuchName,
            (None, false) => Code::Refused,
        };
        let addresses = address.filter(|_| question.kind == dns::ADDRESS).into_iter().copied().collect();
        Answer { code, addresses }
    }
}

/// Reads `/domain/rest`.
fn domain(value: &str) -> Option<(String, &str)> {
    let (domain, rest) = value.strip_prefix('/')?.split_once('/')?;
    (!domain.is_empty()).then(|| (domain.to_ascii_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "# ours\nport=53\nno-resolv\npid-file=\nlisten-address=10.10.0.10\nlocal-ttl=60\n\
                          local=/lab.test/\naddress=/lab.test/192.168.68.200\nlocal=/none.test/\n";

    fn read(text: &str) -> Result<Dnsmasq, String> {
        let mut disk = Disk::empty();
        disk.put("/etc/dns.conf", 0o644, text);
        Dnsmasq::read(&disk, "/etc/dns.conf")
    }

    #[test]
    fn it_answers_for_its_own_names_and_refuses_all_others() {
        let dnsmasq = read(CONFIG).unwrap();
        let told = |name: &str, kind| {
            let answer = dnsmasq.answer(&Question { id: 1, name: name.to_owned(), kind });
            (answer.code, answer.addresses.first().map(Ipv4Addr::to_string))
        };
        let vip = Some("192.168.68.200".to_owned());
        assert_eq!(told("echo.lab.test", dns::ADDRESS), (Code::Good, vip.clone()));
        assert_eq!(told("lab.test", dns::ADDRESS), (Code::Good, vip));
        assert_eq!(told("echo.lab.test", 28), (Code::Good, None));
        assert_eq!(told("x.none.test", dns::ADDRESS), (Code::NoSuchName, None));
        assert_eq!(told("lab.testing", dns::ADDRESS), (Code::Refused, None));
        assert_eq!(told("my-lab.test", dns::ADDRESS), (Code::Refused, None));
        assert!(dnsmasq.listens(Ipv4Addr::new(10, 10, 0, 10)) && !dnsmasq.listens(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn what_dnsmasq_would_refuse_is_refused_with_its_line() {
        for line in
            ["adress=/a/1.1.1.1", "address=/a", "address=/a/b", "listen-address=x", "local=a", "no-resolv=1"]
        {
            let refused = read(&format!("port=53\n{line}\n")).unwrap_err();
            assert_eq!(refused, "bad option at line 2 of /etc/dns.conf", "{line}");
        }
        assert!(Dnsmasq::read(&Disk::empty(), "/none").is_err());
    }
}
