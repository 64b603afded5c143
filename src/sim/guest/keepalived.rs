//! keepalived's configuration: its blocks and keywords, checked as `keepalived -t` does.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::state::Disk;

const GLOBAL: &[&str] = &[
    "router_id",
    "vrrp_version",
    "enable_script_security",
    "script_user",
    "vrrp_garp_master_delay",
    "vrrp_garp_master_repeat",
    "vrrp_garp_master_refresh",
    "vrrp_garp_lower_prio_repeat",
    "vrrp_garp_lower_prio_delay",
    "vrrp_higher_prio_send_advert",
    "max_auto_priority",
    "vrrp_strict",
    "vrrp_skip_check_adv_addr",
    "notification_email",
    "vrrp_garp_interval",
    "vrrp_gna_interval",
    "vrrp_rt_priority",
    "vrrp_no_swap",
    "vrrp_priority",
    "process_names",
    "vrrp_check_unicast_src",
    "dynamic_interfaces",
    "vrrp_startup_delay",
];
const SCRIPT: &[&str] = &["script", "interval", "timeout", "fall", "rise", "weight", "user", "init_fail"];
const PROCESS: &[&str] =
    &["process", "weight", "quorum", "delay", "terminate_delay", "full_command", "param_match"];
const INSTANCE: &[&str] = &[
    "state",
    "interface",
    "virtual_router_id",
    "priority",
    "advert_int",
    "unicast_src_ip",
    "unicast_peer",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "track_interface",
    "track_script",
    "track_process",
    "nopreempt",
    "preempt_delay",
    "authentication",
    "garp_master_delay",
    "garp_master_repeat",
    "garp_master_refresh",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "dont_track_primary",
    "version",
    "accept",
    "check_unicast_src",
    "garp_lower_prio_repeat",
    "higher_prio_send_advert",
    "debug",
];
/// Blocks whose content the model does not use.
const PASSED_OVER: &[&str] = &["vrrp_sync_group"];

/// A line with its block, if it opens one.
#[derive(Debug)]
struct Line {
    number: usize,
    words: Vec<String>,
    block: Option<Vec<Line>>,
}

/// What keepalived was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Keepalived {
    pub instances: Vec<Instance>,
    pub scripts: Vec<Script>,
    pub processes: Vec<Process>,
}

/// One VRRP instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    pub name: String,
    pub interface: String,
    pub router_id: u8,
    pub priority: u8,
    pub advert: Duration,
    pub source: Option<Ipv4Addr>,
    pub peers: Vec<Ipv4Addr>,
    pub addresses: Vec<Vip>,
    pub interfaces: Vec<String>,
    pub scripts: Vec<String>,
    pub processes: Vec<String>,
    pub nopreempt: bool,
}

/// An address that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub device: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub name: String,
    pub command: String,
    pub interval: Duration,
    pub fall: u32,
    pub rise: u32,
    pub weight: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub name: String,
    pub process: String,
    pub weight: i32,
}

impl Keepalived {
    /// Reads a configuration; the error holds keepalived's messages.
    pub fn read(disk: &Disk, path: &str, interfaces: &[String]) -> Result<Self, Vec<String>> {
        let text = disk.text(path).ok_or_else(|| {
            vec![format!("Configuration file '{path}' is not a regular non-executable file")]
        })?;
        let lines = parse(&text, path).map_err(|error| vec![error])?;
        let mut reader = Reader { path, problems: Vec::new(), interfaces, version: 2, secure: false };
        let config = reader.read(&lines);
        for script in &config.scripts {
            reader.check_script(disk, script);
        }
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }
}

struct Reader<'a> {
    path: &'a str,
    problems: Vec<String>,
    interfaces: &'a [String],
    version: u8,
    secure: bool,
}

impl Reader<'_> {
    fn problem(&mut self, line: usize, text: impl std::fmt::Display) {
        self.problems.push(format!("({}: Line {line}) {text}", self.path));
    }

    fn read(&mut self, lines: &[Line]) -> Keepalived {
        let mut config = Keepalived { instances: Vec::new(), scripts: Vec::new(), processes: Vec::new() };
        for line in lines.iter().filter(|line| line.words[0] == "global_defs") {
            self.global(line);
        }
        for line in lines {
            let name = line.words.get(1).cloned().unwrap_or_default();
            match line.words[0].as_str() {
                "global_defs" => {}
                "vrrp_script" => config.scripts.push(self.script(name, line)),
                "vrrp_track_process" => config.processes.push(self.process(name, line)),
                "vrrp_instance" => config.instances.push(self.instance(name, line)),
                other if PASSED_OVER.contains(&other) => {}
                other => self.problem(line.number, format_args!("Unknown keyword '{other}'")),
            }
        }
        for instance in &config.instances {
            self.check_instance(instance, &config);
        }
        config
    }

    fn keywords<'b>(&mut self, line: &'b Line, known: &[&str]) -> Vec<&'b Line> {
        let Some(block) = &line.block else {
            self.problem(line.number, format_args!("{} has no block", line.words[0]));
            return Vec::new();
        };
        for unknown in block.iter().filter(|inner| !known.contains(&inner.words[0].as_str())) {
            self.problem(unknown.number, format_args!("Unknown keyword '{}'", unknown.words[0]));
        }
        block.iter().collect()
    }

    fn value<T: std::str::FromStr>(&mut self, line: &Line) -> Option<T> {
        let value = line.words.get(1).and_then(|word| word.parse().ok());
        if value.is_none() {
            self.problem(line.number, format_args!("invalid value for {}", line.words[0]));
        }
        value
    }

    fn seconds(&mut self, line: &Line) -> Duration {
        let seconds: f64 =
            self.value(line).filter(|seconds| (0.01..=1_000_000.0).contains(seconds)).unwrap_or(1.0);
        Duration::from_secs_f64(seconds)
    }

    fn global(&mut self, line: &Line) {
        for inner in self.keywords(line, GLOBAL) {
            match inner.words[0].as_str() {
                "vrrp_version" => self.version = self.value(inner).unwrap_or(2),
                "enable_script_security" => self.secure = true,
                _ => {}
            }
        }
        if !matches!(self.version, 2 | 3) {
            self.problem(line.number, "VRRP version must be 2 or 3");
        }
    }

    fn script(&mut self, name: String, line: &Line) -> Script {
        let mut script = Script {
            name,
            command: String::new(),
            interval: Duration::from_secs(1),
            fall: 1,
            rise: 1,
            weight: 0,
        };
        for inner in self.keywords(line, SCRIPT) {
            match inner.words[0].as_str() {
                "script" => script.command = inner.words[1..].join(" "),
                "interval" => script.interval = self.seconds(inner),
                "timeout" => drop(self.seconds(inner)),
                "fall" => script.fall = self.value(inner).unwrap_or(1),
                "rise" => script.rise = self.value(inner).unwrap_or(1),
                "weight" => {
                    script.weight =
                        self.value(inner).filter(|weight| (-253..=253).contains(weight)).unwrap_or(0)
                }
                _ => {}
            }
        }
        if script.command.is_empty() {
            self.problem(
                line.number,
                format_args!("No script set for vrrp_script {} - removing", script.name),
            );
        }
        script
    }

    fn process(&mut self, name: String, line: &Line) -> Process {
        let mut process = Process { name, process: String::new(), weight: 0 };
        for inner in self.keywords(line, PROCESS) {
            match inner.words[0].as_str() {
                "process" => process.process = inner.words.get(1).cloned().unwrap_or_default(),
                "weight" => process.weight = self.value(inner).unwrap_or(0),
                _ => {}
            }
        }
        process
    }

    fn instance(&mut self, name: String, line: &Line) -> Instance {
        let mut instance =
            Instance { name, priority: 100, advert: Duration::from_secs(1), ..Instance::default() };
        for inner in self.keywords(line, INSTANCE) {
            self.instance_line(&mut instance, inner);
        }
        if instance.router_id == 0 {
            self.problem(line.number, format_args!("({}) the virtual id must be set!", instance.name));
        }
        instance
    }

    fn instance_line(&mut self, instance: &mut Instance, line: &Line) {
        let first = |line: &Line| line.words[0].clone();
        let inner = || line.block.iter().flatten();
        match line.words[0].as_str() {
            "interface" => instance.interface = self.value(line).unwrap_or_default(),
            "virtual_router_id" => instance.router_id = self.value(line).unwrap_or(0),
            "priority" => {
                instance.priority = self.value(line).filter(|priority| *priority > 0).unwrap_or(100)
            }
            "advert_int" => {
                instance.advert = self.seconds(line);
                if self.version == 2 && instance.advert.subsec_nanos() != 0 {
                    self.problem(line.number, "VRRPv2 advert interval must be in whole seconds");
                }
            }
            "unicast_src_ip" => instance.source = self.value(line),
            "unicast_peer" => {
                for peer in inner() {
                    match peer.words[0].parse() {
                        Ok(address) => instance.peers.push(address),
                        Err(_) => {
                            self.problem(peer.number, format_args!("invalid unicast peer {}", peer.words[0]))
                        }
                    }
                }
            }
            "virtual_ipaddress" => {
                for address in inner() {
                    match vip(&address.words, &instance.interface) {
                        Some(vip) => instance.addresses.push(vip),
                        None => self.problem(
                            address.number,
                            format_args!("invalid address '{}'", address.words.join(" ")),
                        ),
                    }
                }
            }
            "track_interface" => instance.interfaces = inner().map(first).collect(),
            "track_script" => instance.scripts = inner().map(first).collect(),
            "track_process" => instance.processes = inner().map(first).collect(),
            "nopreempt" => instance.nopreempt = true,
            "state" if !matches!(line.words.get(1).map(String::as_str), Some("MASTER" | "BACKUP")) => {
                self.problem(line.number, "unknown state");
            }
            _ => {}
        }
    }

    fn check_instance(&mut self, instance: &Instance, config: &Keepalived) {
        let devices = instance.addresses.iter().map(|vip| &vip.device);
        for device in devices.chain([&instance.interface]).chain(&instance.interfaces) {
            if !self.interfaces.contains(device) {
                self.problems.push(format!("({}) interface {device} doesn't exist", instance.name));
            }
        }
        for name in &instance.scripts {
            if !config.scripts.iter().any(|script| script.name == *name) {
                self.problems.push(format!("({}) track script {name} not found, ignoring...", instance.name));
            }
        }
        for name in &instance.processes {
            if !config.processes.iter().any(|process| process.name == *name) {
                self.problems
                    .push(format!("({}) track process {name} not found, ignoring...", instance.name));
            }
        }
        if instance.addresses.is_empty() {
            self.problems.push(format!("({}) No VIP specified; at least one is sensible", instance.name));
        }
    }

    fn check_script(&mut self, disk: &Disk, script: &Script) {
        let Some(path) = script.command.split_whitespace().next() else { return };
        let Some(file) = disk.file(path) else {
            return self.problems.push(format!("WARNING - script '{path}' not found - disabling."));
        };
        if file.mode & 0o111 == 0 {
            self.problems.push(format!("WARNING - script '{path}' is not executable - disabling."));
        } else if self.secure && (file.owner != "root" || file.mode & 0o022 != 0) {
            self.problems.push(format!("Unsafe permissions found for script '{path}' - disabling."));
        }
    }
}

fn vip(words: &[String], interface: &str) -> Option<Vip> {
    let (address, prefix) = match words[0].split_once('/') {
        Some((address, prefix)) => (address, prefix.parse().ok().filter(|prefix| *prefix <= 32)?),
        None => (words[0].as_str(), 32),
    };
    let device = words
        .iter()
        .position(|word| word == "dev")
        .map_or(Some(interface), |at| words.get(at + 1).map(String::as_str))?;
    Some(Vip { address: address.parse().ok()?, prefix, device: device.to_owned() })
}

/// Reads the syntax: one keyword a line, `{` at a line's end, `}` alone, `#` and `!` comments, quotes.
fn parse(text: &str, path: &str) -> Result<Vec<Line>, String> {
    let mut stack: Vec<(Line, Vec<Line>)> = Vec::new();
    let mut here: Vec<Line> = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let mut words = words(text);
        if words == ["}"] {
            let (mut closed, outer) =
                stack.pop().ok_or_else(|| format!("({path}: Line {number}) Unexpected '}}'"))?;
            closed.block = Some(std::mem::replace(&mut here, outer));
            here.push(closed);
            continue;
        }
        let opens = words.last().is_some_and(|word| word == "{");
        if opens {
            words.pop();
        }
        match (words.is_empty(), opens) {
            (true, false) => {}
            (true, true) => return Err(format!("({path}: Line {number}) Unexpected '{{'")),
            (false, true) => stack.push((Line { number, words, block: None }, std::mem::take(&mut here))),
            (false, false) => here.push(Line { number, words, block: None }),
        }
    }
    match stack.pop() {
        Some((open, _)) => Err(format!("({path}: Line {}) Missing '}}' of {}", open.number, open.words[0])),
        None => Ok(here),
    }
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for char in line.chars() {
        match char {
            '"' => (quoted, any) = (!quoted, true),
            '#' | '!' if !quoted => break,
            space if space.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            other => {
                word.push(other);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    pub const PATH: &str = "/etc/keepalived/keepalived.conf";

    pub fn config(own: &str, peer: &str) -> String {
        format!(
            "global_defs {{\n    router_id a\n    vrrp_version 3\n    enable_script_security\n    script_user nobody\n}}\n\
             vrrp_script chk_nginx {{\n    script \"/usr/local/sbin/check-gateway\"\n    interval 0.5\n    fall 2\n    rise 2\n}}\n\
             vrrp_instance GW {{\n    state BACKUP\n    interface ens192\n    virtual_router_id 51\n    priority 240\n    advert_int 0.2\n    \
             unicast_src_ip {own}\n    unicast_peer {{\n        {peer}\n    }}\n    virtual_ipaddress {{\n        \
             192.168.68.200/24 dev ens160\n        10.10.0.10/24 dev ens192\n    }}\n    track_interface {{\n        ens160\n    }}\n    \
             track_script {{\n        chk_nginx\n    }}\n}}\n"
        )
    }

    fn read(text: &str) -> Result<Keepalived, Vec<String>> {
        let mut disk = Disk::read(None).unwrap();
        disk.put("/usr/local/sbin/check-gateway", 0o755, "#!/bin/sh\n");
        disk.put(PATH, 0o644, text);
        Keepalived::read(&disk, PATH, &["ens160".into(), "ens192".into()])
    }

    #[test]
    fn the_measured_configuration_is_read() {
        let config = read(&config("10.10.0.11", "10.10.0.12")).unwrap();
        let instance = &config.instances[0];
        assert_eq!(instance.advert, Duration::from_millis(200));
        assert_eq!(instance.addresses[1].device, "ens192");
        assert_eq!(instance.peers, [Ipv4Addr::new(10, 10, 0, 12)]);
    }

    #[test]
    fn what_keepalived_would_not_take_is_refused() {
        let good = config("10.10.0.11", "10.10.0.12");
        let refused = |text: String, why: &str| {
            let problems = read(&text).unwrap_err().join("\n");
            assert!(problems.contains(why), "{problems}");
        };
        refused(good.replace("vrrp_version 3", "vrrp_version 2"), "whole seconds");
        refused(good.replace("advert_int", "advert_interval"), "Unknown keyword 'advert_interval'");
        refused(good.replace("dev ens160", "dev eth0"), "eth0 doesn't exist");
        refused(good.replace("check-gateway", "check-nothing"), "not found");
        refused(good[..good.len() - 2].to_owned(), "Missing '}'");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9 {}!\"#\n/.]{0,160}") {
            let _ = read(&text);
        }
    }
}
