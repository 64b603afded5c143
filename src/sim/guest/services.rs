//! What answers on the guest's ports: nginx's listeners, the API server, etcd, the kubelet, Cilium's NodePorts.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::kube::{api, envoy, kubelet};
use super::live::UnitState;
use super::nginx::{Action, Nginx, Proxy, Server};
use super::{Model, network, routing};
use crate::sim::seam::{WIRE_BUFFER, Wire};

/// Kubernetes' ports (facts/kubernetes-cilium.md §1.7).
pub const API: u16 = 6443;
pub const KUBELET: u16 = 10250;
pub const KUBELET_HEALTH: u16 = 10248;
pub const ETCD_CLIENT: u16 = 2379;
pub const ETCD_PEER: u16 = 2380;
/// Where a name server listens.
const DNS: u16 = 53;

/// Anything that a server can talk over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Counts a connection for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection, or refuses it as a kernel without a listener does.
pub fn accept(model: &Arc<Model>, to: SocketAddrV4, wire: Wire) -> io::Result<()> {
    if model.power.is_cancelled() {
        return Err(io::ErrorKind::HostUnreachable.into());
    }
    let nginx = model.live(|live| live.unit_active("nginx").then(|| live.nginx.clone()).flatten());
    let held = Arc::clone(model);
    if let Some(nginx) = nginx
        && let Some(listener) = nginx.listener(to).cloned()
    {
        model.spawn(async move {
            let _ = serve_nginx(&held, &nginx, listener.action, to, wire).await;
        });
        return Ok(());
    }
    if to.port() == DNS
        && let Some(dnsmasq) = model.live(|live| live.dnsmasq.clone()).filter(|it| it.listens(*to.ip()))
    {
        model.spawn(async move { drop(dnsmasq.serve(wire).await) });
        return Ok(());
    }
    let runs = |pod: &str| model.live(|live| live.static_pods.contains(pod));
    match to.port() {
        API if runs("kube-apiserver") => model.spawn(async move { api::serve(&held, wire).await }),
        ETCD_CLIENT | ETCD_PEER if runs("etcd") => {
            model.spawn(async move { api::serve_etcd(&held, wire).await })
        }
        KUBELET if model.live(|live| live.unit_active("kubelet")) => {
            model.spawn(async move { kubelet::serve(&held, wire).await });
        }
        KUBELET_HEALTH if to.ip().is_loopback() && model.live(|live| live.unit_active("kubelet")) => {
            model.spawn(async move { kubelet::serve_health(wire).await });
        }
        port => match envoy::listener(model, port) {
            Some(listener) => model.spawn(async move { envoy::serve(&held, listener, wire).await }),
            None => return Err(io::ErrorKind::ConnectionRefused.into()),
        },
    }
    Ok(())
}

/// Says whether something listens on a port now.
pub fn port_taken(model: &Model, port: u16) -> bool {
    model.host.listens(model, port)
}

/// Says whether something that the model runs listens on a port now.
pub fn modelled_port(model: &Model, port: u16) -> bool {
    let runs = |pod: &str| model.live(|live| live.static_pods.contains(pod));
    let nginx = model.live(|live| live.nginx.clone());
    let by_nginx = nginx.is_some_and(|nginx| nginx.listeners.iter().any(|listener| listener.port == port));
    by_nginx
        || match port {
            API => runs("kube-apiserver"),
            ETCD_CLIENT | ETCD_PEER => runs("etcd"),
            10259 => runs("kube-scheduler"),
            10257 => runs("kube-controller-manager"),
            KUBELET => model.live(|live| live.unit("kubelet")) == UnitState::Active,
            _ => false,
        }
}

/// Opens a connection from the guest.
pub async fn connect(model: &Arc<Model>, to: SocketAddrV4) -> io::Result<Wire> {
    model.host.connect(model, to).await
}

/// Opens a connection from a machine that is its model: to itself over loopback, to others through the world.
pub async fn connect_modelled(model: &Arc<Model>, to: SocketAddrV4) -> io::Result<Wire> {
    connect_by(model, None, to).await
}

/// The same, out of one interface if it is named.
pub async fn connect_by(model: &Arc<Model>, interface: Option<&str>, to: SocketAddrV4) -> io::Result<Wire> {
    if !network::is_own(model, *to.ip()) {
        return model.around.connect(&routing::ways(model, interface, *to.ip()), to).await;
    }
    let (near, far) = tokio::io::duplex(WIRE_BUFFER);
    accept(model, to, far)?;
    Ok(near)
}

async fn serve_nginx(
    model: &Arc<Model>,
    nginx: &Arc<Nginx>,
    action: Action,
    to: SocketAddrV4,
    mut wire: Wire,
) -> io::Result<()> {
    let proxy = match action {
        Action::Return(text) => {
            wire.write_all(text.as_bytes()).await?;
            return wire.shutdown().await;
        }
        Action::Proxy(proxy) => proxy,
    };
    let Some(upstream) = nginx.upstreams.get(&proxy.upstream) else {
        let address = proxy.upstream.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        let mut far = connect(model, address).await?;
        copy_bidirectional(&mut wire, &mut far).await?;
        return Ok(());
    };
    let mut tried = Vec::new();
    while let Some(server) = upstream.choose(&tried) {
        match reach(model, &proxy, server, to).await {
            Ok(mut far) => {
                server.worked();
                let _counted = Counted::new(&server.active);
                copy_bidirectional(&mut wire, &mut far).await?;
                return Ok(());
            }
            Err(error) => {
                set_aside(model, nginx, &proxy.upstream, server);
                model.log(
                    "nginx",
                    format!(
                        "[error] connect() failed ({error}) while connecting to upstream {}",
                        server.address
                    ),
                );
                tried.push(server.address);
                if !proxy.next_upstream || proxy.tries != 0 && tried.len() >= proxy.tries {
                    break;
                }
            }
        }
    }
    model.log(
        "nginx",
        format!("[error] no live upstreams while connecting to upstream \"{}\"", proxy.upstream),
    );
    Err(io::ErrorKind::ConnectionReset.into())
}

/// Counts a failure, and forgets it after the server's `fail_timeout`.
fn set_aside(model: &Arc<Model>, nginx: &Arc<Nginx>, upstream: &str, server: &Server) {
    server.failed();
    let (held, nginx, upstream) = (Arc::clone(model), Arc::clone(nginx), upstream.to_owned());
    let (address, fail_timeout) = (server.address, server.fail_timeout);
    model.spawn(async move {
        held.pass(fail_timeout).await;
        let servers = nginx.upstreams.get(&upstream).into_iter().flat_map(|upstream| &upstream.servers);
        servers.filter(|server| server.address == address).for_each(Server::worked);
    });
}

async fn reach(model: &Arc<Model>, proxy: &Proxy, server: &Server, to: SocketAddrV4) -> io::Result<Wire> {
    let mut far = tokio::select! {
        connected = connect(model, server.address) => connected?,
        () = model.deadline(proxy.connect_timeout) => return Err(io::ErrorKind::TimedOut.into()),
    };
    if proxy.proxy_protocol {
        // The world does not say who dialled, so the line names the listener on both sides.
        let line = format!("PROXY TCP4 {0} {0} {1} {1}\r\n", to.ip(), to.port());
        far.write_all(line.as_bytes()).await?;
    }
    Ok(far)
}
