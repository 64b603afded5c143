//! How the engine asks: several at once, and the lab's own addresses over HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::host::dial::Dial;
use crate::host::http::{self, HttpAnswer, Tls};
use crate::stack::checks::{Authority, Request};

use crate::engine::context::Engine;
use crate::engine::error::Result;

/// However many there are: each answers or is given up within its limit.
pub const ALL: usize = Semaphore::MAX_PERMITS;

/// Does something with each item, so many at once; the results are in the items' order.
pub async fn in_order<I, T, F>(
    items: impl IntoIterator<Item = I>,
    at_once: usize,
    work: impl Fn(I) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let gate = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let (gate, work) = (gate.clone(), work(item));
        running.spawn(async move {
            let _permit = gate.acquire_owned().await.expect("the gate is never closed");
            (index, work.await)
        });
    }
    let mut results = running.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Returns a request as this computer sends it, with the certificate of the lab's authority that must have signed.
pub fn probe(engine: &Engine, request: &Request, limit: Duration) -> Result<http::Probe> {
    let identity = engine.need_identity()?;
    let tls = request.authority.map(|authority| Tls {
        server_name: request.host.clone(),
        ca_pem: match authority {
            Authority::Lab => identity.lab_ca.certificate.clone(),
            Authority::Cluster => identity.cluster_ca.certificate.clone(),
        },
    });
    Ok(http::Probe {
        address: *request.address.ip(),
        port: request.address.port(),
        tls,
        host_header: request.host.clone(),
        path: request.path.clone(),
        limit,
    })
}

/// Sends a request, by a connection of its own.
pub async fn send(engine: &Engine, probe: &http::Probe) -> Result<HttpAnswer> {
    // Read each time: a simulated Fusion that is started again has another port.
    Ok(http::probe(&Dial::of(&engine.fusion)?, probe).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn so_many_at_once_and_no_more_and_the_results_are_in_order() {
        const AT_ONCE: usize = 8;
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let items = in_order(0..2 * AT_ONCE, AT_ONCE, |item| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in item..AT_ONCE {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                item
            }
        })
        .await;
        assert_eq!(items, (0..2 * AT_ONCE).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }
}
