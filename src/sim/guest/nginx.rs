//! nginx's configuration as its stream module reads it, and the passive health of its upstreams.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use super::nginx_syntax::{Directive, parse};
use super::state::Disk;

/// Directives by the block they may stand in, with what the model reads or lets pass.
const MAIN: &[&str] = &[
    "user",
    "worker_processes",
    "pid",
    "error_log",
    "include",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
    "load_module",
    "events",
    "stream",
    "http",
    "daemon",
    "pcre_jit",
    "worker_cpu_affinity",
    "worker_priority",
    "env",
];
const EVENTS: &[&str] = &["worker_connections", "multi_accept", "use", "accept_mutex"];
const STREAM: &[&str] = &[
    "log_format",
    "access_log",
    "error_log",
    "upstream",
    "server",
    "proxy_connect_timeout",
    "proxy_timeout",
    "proxy_socket_keepalive",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_next_upstream_timeout",
    "proxy_buffer_size",
    "proxy_protocol",
    "proxy_bind",
    "tcp_nodelay",
    "preread_timeout",
    "resolver",
    "map",
    "limit_conn_zone",
    "limit_conn",
    "variables_hash_max_size",
    "include",
];
const UPSTREAM: &[&str] = &["server", "least_conn", "hash", "random", "zone"];
const SERVER: &[&str] = &[
    "listen",
    "proxy_pass",
    "proxy_timeout",
    "proxy_connect_timeout",
    "proxy_socket_keepalive",
    "proxy_next_upstream",
    "proxy_next_upstream_tries",
    "proxy_next_upstream_timeout",
    "proxy_protocol",
    "proxy_buffer_size",
    "return",
    "access_log",
    "error_log",
    "allow",
    "deny",
    "tcp_nodelay",
    "preread_timeout",
    "ssl_preread",
    "limit_conn",
];
/// Options of `listen` that take no value the model uses.
const LISTEN: &[&str] = &["reuseport", "proxy_protocol", "deferred", "bind"];

/// A configuration that nginx accepted.
#[derive(Debug, Default)]
pub struct Nginx {
    pub listeners: Vec<Listener>,
    pub upstreams: BTreeMap<String, Upstream>,
}

#[derive(Clone, Debug)]
pub struct Listener {
    /// None is the wildcard.
    pub address: Option<Ipv4Addr>,
    pub port: u16,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    Return(String),
    Proxy(Proxy),
}

#[derive(Clone, Debug)]
pub struct Proxy {
    pub upstream: String,
    pub connect_timeout: Duration,
    pub tries: usize,
    pub next_upstream: bool,
    pub proxy_protocol: bool,
}

#[derive(Debug)]
pub struct Upstream {
    least_conn: bool,
    pub servers: Vec<Server>,
    turn: AtomicUsize,
}

#[derive(Debug)]
pub struct Server {
    pub address: SocketAddrV4,
    max_fails: u32,
    pub fail_timeout: Duration,
    backup: bool,
    pub active: AtomicUsize,
    fails: AtomicU32,
}

impl Upstream {
    /// Returns the server for the next connection: never one of `tried`; a failed one only when nothing else is left.
    pub fn choose(&self, tried: &[SocketAddrV4]) -> Option<&Server> {
        let fresh = |server: &&Server| !tried.contains(&server.address);
        let primary = |server: &&Server| !server.backup && server.up();
        let backup = |server: &&Server| server.backup && server.up();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let pick = |candidates: Vec<&'_ Server>| -> Option<usize> {
            if candidates.is_empty() {
                return None;
            }
            let start = turn % candidates.len();
            let order = (0..candidates.len()).map(|step| (start + step) % candidates.len());
            let index = if self.least_conn {
                order.min_by_key(|&index| candidates[index].active.load(Ordering::Relaxed))?
            } else {
                start
            };
            self.servers.iter().position(|server| std::ptr::eq(server, candidates[index]))
        };
        let all = || self.servers.iter().filter(fresh);
        let index = pick(all().filter(primary).collect())
            .or_else(|| pick(all().filter(backup).collect()))
            .or_else(|| tried.is_empty().then(|| pick(all().collect())).flatten())?;
        self.servers.get(index)
    }
}

impl Server {
    fn up(&self) -> bool {
        self.max_fails == 0 || self.fails.load(Ordering::Relaxed) < self.max_fails
    }

    /// Counts a failure; the caller calls [`Self::worked`] once [`Self::fail_timeout`] has passed.
    pub fn failed(&self) {
        self.fails.fetch_add(1, Ordering::Relaxed);
    }

    pub fn worked(&self) {
        self.fails.store(0, Ordering::Relaxed);
    }
}

impl Nginx {
    /// Reads a configuration as `nginx -t -c PATH` does; the error is nginx's message.
    pub fn read(disk: &Disk, path: &str) -> Result<Self, String> {
        let text = disk
            .text(path)
            .ok_or_else(|| format!("open() \"{path}\" failed (2: No such file or directory)"))?;
        let mut main = parse(&text, path)?;
        include(disk, &mut main, path)?;
        known(&main, MAIN, path)?;
        let stream_module = main.iter().any(|directive| {
            directive.words[0] == "load_module"
                && directive.words.get(1).is_some_and(|module| module.contains("ngx_stream_module"))
        });
        let events = block(&main, "events", path)?.ok_or("no \"events\" section in configuration")?;
        known(events, EVENTS, path)?;
        let mut nginx = Self::default();
        if let Some(stream) = main.iter().find(|directive| directive.words[0] == "stream") {
            if !stream_module {
                return Err(format!("unknown directive \"stream\" in {path}:{}", stream.line));
            }
            nginx.read_stream(block(&main, "stream", path)?.unwrap_or_default(), path)?;
        }
        Ok(nginx)
    }

    fn read_stream(&mut self, stream: &[Directive], path: &str) -> Result<(), String> {
        known(stream, STREAM, path)?;
        for directive in stream.iter().filter(|directive| directive.words[0] == "upstream") {
            let name = argument(directive, path)?;
            let servers = directive.block.as_deref().ok_or_else(|| no_block(directive, path))?;
            let upstream = read_upstream(name, servers, path)?;
            if self.upstreams.insert(name.to_owned(), upstream).is_some() {
                return Err(format!("duplicate upstream \"{name}\" in {path}:{}", directive.line));
            }
        }
        for directive in stream.iter().filter(|directive| directive.words[0] == "server") {
            let server = directive.block.as_deref().ok_or_else(|| no_block(directive, path))?;
            self.read_server(directive.line, server, stream, path)?;
        }
        Ok(())
    }

    fn read_server(
        &mut self,
        line: usize,
        server: &[Directive],
        stream: &[Directive],
        path: &str,
    ) -> Result<(), String> {
        known(server, SERVER, path)?;
        let action = self.action(line, server, stream, path)?;
        let mut any = false;
        for listen in server.iter().filter(|directive| directive.words[0] == "listen") {
            let (address, port) = listen_address(listen, path)?;
            let clash = |other: &Listener| other.port == port && other.address == address;
            if self.listeners.iter().any(clash) {
                return Err(format!(
                    "duplicate \"{}\" address and port pair in {path}:{}",
                    listen.words[1], listen.line
                ));
            }
            self.listeners.push(Listener { address, port, action: action.clone() });
            any = true;
        }
        if any { Ok(()) } else { Err(format!("no \"listen\" is defined for server in {path}:{line}")) }
    }

    fn action(
        &self,
        line: usize,
        server: &[Directive],
        stream: &[Directive],
        path: &str,
    ) -> Result<Action, String> {
        let setting = |name: &str| {
            let find = |directives: &[Directive]| {
                directives.iter().find(|directive| directive.words[0] == name).cloned()
            };
            find(server).or_else(|| find(stream))
        };
        if let Some(directive) = server.iter().find(|directive| directive.words[0] == "return") {
            return Ok(Action::Return(argument(directive, path)?.replace("\\n", "\n")));
        }
        let Some(pass) = server.iter().find(|directive| directive.words[0] == "proxy_pass") else {
            return Err(format!("no handler for server in {path}:{line}"));
        };
        let upstream = argument(pass, path)?.to_owned();
        if !self.upstreams.contains_key(&upstream) && upstream.parse::<SocketAddrV4>().is_err() {
            return Err(format!("host not found in upstream \"{upstream}\" in {path}:{}", pass.line));
        }
        for name in ["proxy_timeout", "proxy_next_upstream_timeout"] {
            setting(name).map(|directive| time_argument(&directive, path)).transpose()?;
        }
        let on = |name: &str, default: bool| -> Result<bool, String> {
            setting(name).map_or(Ok(default), |directive| flag_argument(&directive, path))
        };
        let tries = setting("proxy_next_upstream_tries").map(|directive| {
            argument(&directive, path)?
                .parse()
                .map_err(|_| format!("invalid number in {path}:{}", directive.line))
        });
        Ok(Action::Proxy(Proxy {
            upstream,
            connect_timeout: setting("proxy_connect_timeout")
                .map_or(Ok(Duration::from_secs(60)), |directive| time_argument(&directive, path))?,
            tries: tries.transpose()?.unwrap_or(0),
            next_upstream: on("proxy_next_upstream", true)?,
            proxy_protocol: on("proxy_protocol", false)?,
        }))
    }

    /// Returns the listener that a connection to this address reaches: the exact one before the wildcard.
    pub fn listener(&self, to: SocketAddrV4) -> Option<&Listener> {
        let exact = |listener: &&Listener| listener.port == to.port() && listener.address == Some(*to.ip());
        let wild = |listener: &&Listener| listener.port == to.port() && listener.address.is_none();
        self.listeners.iter().find(exact).or_else(|| self.listeners.iter().find(wild))
    }
}

fn read_upstream(name: &str, directives: &[Directive], path: &str) -> Result<Upstream, String> {
    known(directives, UPSTREAM, path)?;
    let mut servers = Vec::new();
    for directive in directives.iter().filter(|directive| directive.words[0] == "server") {
        servers.push(read_backend(directive, path)?);
    }
    if servers.is_empty() {
        return Err(format!("no servers are inside upstream \"{name}\" in {path}"));
    }
    let least_conn = directives.iter().any(|directive| directive.words[0] == "least_conn");
    Ok(Upstream { least_conn, servers, turn: AtomicUsize::new(0) })
}

fn read_backend(directive: &Directive, path: &str) -> Result<Server, String> {
    let text = argument(directive, path)?;
    let address = text
        .parse()
        .map_err(|_| format!("invalid host in upstream \"{text}\" in {path}:{}", directive.line))?;
    let mut server = Server {
        address,
        max_fails: 1,
        fail_timeout: Duration::from_secs(10),
        backup: false,
        active: AtomicUsize::new(0),
        fails: AtomicU32::new(0),
    };
    for option in directive.words.iter().skip(2) {
        let invalid = || format!("invalid parameter \"{option}\" in {path}:{}", directive.line);
        match option.split_once('=') {
            Some(("max_fails", count)) => server.max_fails = count.parse().map_err(|_| invalid())?,
            Some(("fail_timeout", time)) => server.fail_timeout = parse_time(time).ok_or_else(invalid)?,
            Some(("weight" | "max_conns", count)) => drop(count.parse::<u32>().map_err(|_| invalid())?),
            None if option == "backup" => server.backup = true,
            _ => return Err(invalid()),
        }
    }
    Ok(server)
}

fn listen_address(listen: &Directive, path: &str) -> Result<(Option<Ipv4Addr>, u16), String> {
    let text = argument(listen, path)?;
    for option in listen.words.iter().skip(2) {
        let name = option.split('=').next().unwrap_or_default();
        if !LISTEN.contains(&name) && !matches!(name, "so_keepalive" | "backlog" | "ipv6only") {
            return Err(format!("invalid parameter \"{option}\" in {path}:{}", listen.line));
        }
    }
    let invalid =
        |_| format!("invalid port in \"{text}\" of the \"listen\" directive in {path}:{}", listen.line);
    match text.rsplit_once(':') {
        Some(("*", port)) => Ok((None, port.parse().map_err(invalid)?)),
        Some((host, port)) => {
            let host = host
                .parse::<Ipv4Addr>()
                .map_err(|_| format!("host not found in \"{text}\" in {path}:{}", listen.line))?;
            Ok(((!host.is_unspecified()).then_some(host), port.parse().map_err(invalid)?))
        }
        None => Ok((None, text.parse().map_err(invalid)?)),
    }
}

/// Replaces `include` by what it names; a pattern may match nothing, a plain path may not.
fn include(disk: &Disk, directives: &mut Vec<Directive>, path: &str) -> Result<(), String> {
    let mut whole = Vec::new();
    for mut directive in std::mem::take(directives) {
        if let Some(block) = &mut directive.block {
            include(disk, block, path)?;
        }
        if directive.words[0] != "include" {
            whole.push(directive);
            continue;
        }
        let pattern = argument(&directive, path)?.to_owned();
        let files = match pattern.split_once("/*") {
            Some((directory, suffix)) => disk.glob(directory, suffix),
            None => vec![pattern],
        };
        for file in files {
            let text = disk.text(&file);
            let text = text.ok_or_else(|| {
                format!(
                    "open() \"{file}\" failed (2: No such file or directory) in {path}:{}",
                    directive.line
                )
            })?;
            whole.extend(parse(&text, &file)?);
        }
    }
    *directives = whole;
    Ok(())
}

fn known(directives: &[Directive], names: &[&str], path: &str) -> Result<(), String> {
    match directives.iter().find(|directive| !names.contains(&directive.words[0].as_str())) {
        Some(unknown) => {
            Err(format!("unknown directive \"{}\" in {path}:{}", unknown.words[0], unknown.line))
        }
        None => Ok(()),
    }
}

fn block<'a>(directives: &'a [Directive], name: &str, path: &str) -> Result<Option<&'a [Directive]>, String> {
    let found = directives.iter().find(|directive| directive.words[0] == name);
    found.map(|directive| directive.block.as_deref().ok_or_else(|| no_block(directive, path))).transpose()
}

fn no_block(directive: &Directive, path: &str) -> String {
    format!("directive \"{}\" has no opening \"{{\" in {path}:{}", directive.words[0], directive.line)
}

fn argument<'a>(directive: &'a Directive, path: &str) -> Result<&'a str, String> {
    directive.words.get(1).map(String::as_str).ok_or_else(|| {
        format!(
            "invalid number of arguments in \"{}\" directive in {path}:{}",
            directive.words[0], directive.line
        )
    })
}

fn flag_argument(directive: &Directive, path: &str) -> Result<bool, String> {
    match argument(directive, path)? {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!(
            "invalid value \"{other}\" in \"{}\" directive in {path}:{}",
            directive.words[0], directive.line
        )),
    }
}

fn time_argument(directive: &Directive, path: &str) -> Result<Duration, String> {
    let invalid =
        || format!("\"{}\" directive invalid value in {path}:{}", directive.words[0], directive.line);
    parse_time(argument(directive, path)?).ok_or_else(invalid)
}

fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATH: &str = "/etc/nginx/nginx.conf";
    const MODULE: &str = "/etc/nginx/modules-enabled/50-mod-stream.conf";

    fn disk(config: &str) -> Disk {
        let mut disk = Disk::read(None).unwrap();
        disk.put(MODULE, 0o644, "load_module modules/ngx_stream_module.so;\n");
        disk.put(PATH, 0o644, config);
        disk
    }

    fn config(stream: &str) -> String {
        format!(
            "include /etc/nginx/modules-enabled/*.conf;\nevents {{ worker_connections 64; }}\nstream {{\n{stream}\n}}\n"
        )
    }

    const GOOD: &str =
        "upstream api { least_conn; server 10.0.0.1:6443 max_fails=1 fail_timeout=5s; server 10.0.0.2:6443; }
        log_format l4 '$remote_addr; {}';
        server { listen 6443; proxy_pass api; proxy_connect_timeout 1s; proxy_next_upstream_tries 3; }
        server { listen 127.0.0.1:8099; return \"ok\\n\"; }";

    #[test]
    fn listeners_and_upstreams_are_what_the_file_says() {
        let nginx = Nginx::read(&disk(&config(GOOD)), PATH).unwrap();
        assert!(nginx.listener("10.9.9.9:6443".parse().unwrap()).is_some());
        assert!(nginx.listener("10.9.9.9:8099".parse().unwrap()).is_none());
        let upstream = &nginx.upstreams["api"];
        let first = upstream.choose(&[]).unwrap();
        first.failed();
        for _ in 0..3 {
            assert_ne!(upstream.choose(&[]).unwrap().address, first.address, "a failed server is left out");
        }
    }

    #[test]
    fn what_nginx_would_not_start_with_is_refused() {
        let refused = |text: &str, why: &str| {
            let error = Nginx::read(&disk(text), PATH).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(&config("listn 1;"), "unknown directive \"listn\"");
        refused(&config("server { listen 1; return a; } server { listen 1; return b; }"), "duplicate");
        refused(&config("server { listen 1; proxy_pass nobody; }"), "host not found in upstream");
        refused("events {} stream {}", "unknown directive \"stream\"");
        refused("events {", "unexpected end of file");
        refused("include /nowhere.conf;", "No such file");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9 ;{}'\"#\n:.=]{0,120}") {
            let _ = Nginx::read(&disk(&config(&text)), PATH);
        }
    }
}
