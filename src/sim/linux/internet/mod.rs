//! What the home router leads to: names, time, and everything that a template's bake downloads.
//!
//! ```text
//! DNS    every name of the world's is 198.18.0.1                          dns.rs
//! NTP    this computer's time                                             ntp.rs
//! HTTP   deb.debian.org: repositories with nothing but a containerd       web.rs ─▶ sites.rs ─▶ repository.rs
//! HTTPS  pkgs.k8s.io: repositories of each of Kubernetes' minors                                ├─ deb.rs, tar.rs
//!        download.docker.com: the containerd that is installed
//!        get.helm.sh, helm.cilium.io, github.com                                                └─ openpgp.rs
//! ```
//!
//! Certificates are made as they are asked for, by an authority that the guest image trusts; repositories are signed
//! with a key that it trusts (`keys.rs`). Nothing here asks the real internet for anything.

mod deb;
mod dns;
mod keys;
mod ntp;
mod openpgp;
mod repository;
mod sites;
mod tar;
mod web;

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

pub use keys::{Keys, make_keys};

use super::image::GuestImage;
use super::net::Sockets;
use crate::host::clock;
use sites::Sites;

/// Serves the internet for ever; it ends when the future is dropped.
///
/// # Errors
/// If the image's keys cannot be read, or the sockets cannot be used.
pub async fn serve(image: GuestImage, sockets: Sockets) -> io::Result<()> {
    let sites = Arc::new(Sites::new(Keys::open(&image.internet())?));
    for socket in [&sockets.dns, &sockets.ntp] {
        socket.set_nonblocking(true)?;
    }
    for listener in [&sockets.http, &sockets.https] {
        listener.set_nonblocking(true)?;
    }
    let dns = UdpSocket::from_std(sockets.dns)?;
    let ntp = UdpSocket::from_std(sockets.ntp)?;
    let http = TcpListener::from_std(sockets.http)?;
    let https = TcpListener::from_std(sockets.https)?;
    let until = CancellationToken::new();
    let _dropped = until.clone().drop_guard();
    tokio::select! {
        () = answer(dns, dns::answer) => Ok(()),
        () = answer(ntp, |message| ntp::answer(message, clock::now_ms()).map(Vec::from)) => Ok(()),
        served = web::plain(Arc::clone(&sites), http, until.clone()) => served,
        served = web::encrypted(sites, https, until.clone()) => served,
    }
}

/// Answers datagrams, each by itself; what cannot be sent is lost, as on any network.
async fn answer(socket: UdpSocket, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut message = [0; dns::MESSAGE];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut message).await else { continue };
        if let Some(answer) = answer(&message[..length]) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}
