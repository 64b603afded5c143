//! One network's DHCP and NAT: whether they are wanted, whether they run, and their files anew.

use super::{Call, FAILED, Outcome, UNKNOWN, number};
use crate::sim::configure;
use crate::sim::network::{self, Networks, ServiceKind};

impl Call<'_> {
    /// Does a verb that is about a network's services.
    pub(super) fn services(&mut self, name: &str, args: &[&str]) -> Outcome {
        let ("setdhcpusage"
        | "getdhcpusage"
        | "setnatusage"
        | "getnatusage"
        | "updatedhcpfromconfig"
        | "updatenatfromconfig"
        | "servicestart"
        | "servicestop"
        | "servicestatus") = name
        else {
            return UNKNOWN;
        };
        let Some((vmnet, rest)) = args.split_first() else { return UNKNOWN };
        let Some(vmnet) = number(vmnet) else { return FAILED };
        match (name, rest) {
            ("setdhcpusage", [value @ ("yes" | "no")]) => self.answer(vmnet, "DHCP", value),
            ("setnatusage", [value @ ("yes" | "no")]) => self.answer(vmnet, "NAT", value),
            ("getdhcpusage", []) => self.show_usage(vmnet, "DHCP"),
            ("getnatusage", []) => self.show_usage(vmnet, "NAT"),
            ("updatedhcpfromconfig", []) => self.update(vmnet, ServiceKind::Dhcp),
            ("updatenatfromconfig", []) => self.update(vmnet, ServiceKind::Nat),
            ("servicestart" | "servicestop", [kind]) => match service(kind) {
                Some(kind) => network::switch(self.places, vmnet, kind, name == "servicestart").map(Some),
                None => FAILED,
            },
            ("servicestatus", [kind]) => match service(kind) {
                Some(kind) => self.runs(vmnet, kind),
                None => FAILED,
            },
            _ => UNKNOWN,
        }
    }

    fn show_usage(&mut self, vmnet: u8, key: &str) -> Outcome {
        let answer = network::database(self.places)?.answers(vmnet).remove(key);
        self.show(answer)
    }

    /// Derives a service's file; DHCP must be stopped for it (facts/fusion-networking.md §2.3).
    fn update(&self, vmnet: u8, kind: ServiceKind) -> Outcome {
        let networks = Networks::load(self.places)?;
        let dhcp_runs = networks.running(vmnet).is_some_and(|network| network.dhcp);
        if !network::database(self.places)?.vmnet(vmnet).exists || (kind == ServiceKind::Dhcp && dhcp_runs) {
            return FAILED;
        }
        configure::configure_one(self.places, vmnet)?;
        Ok(Some(true))
    }

    fn runs(&self, vmnet: u8, kind: ServiceKind) -> Outcome {
        let networks = Networks::load(self.places)?;
        let network = networks.running(vmnet);
        Ok(Some(network.is_some_and(|network| match kind {
            ServiceKind::Dhcp => network.dhcp,
            ServiceKind::Nat => network.nat,
            ServiceKind::Adapter => network.adapter,
        })))
    }
}

fn service(word: &str) -> Option<ServiceKind> {
    match word {
        "dhcp" => Some(ServiceKind::Dhcp),
        "nat" => Some(ServiceKind::Nat),
        _ => None,
    }
}
