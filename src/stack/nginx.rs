//! nginx on the gateways: layer 4 only, for all three of the VIP's ports (facts/test-bench.md §6).

use serde_json::json;

use crate::lab::{Lab, Node};
use crate::stack::file::GuestFile;
use crate::stack::render::render;

/// Where the configuration goes; it replaces the distribution's, whose default site takes port 80.
pub const CONFIG: &str = "/etc/nginx/nginx.conf";
/// Where nginx says `ok` to Keepalived, on the loopback interface.
pub const LIVENESS_PORT: u16 = 8099;

/// `kubectl exec`, `logs -f` and watches are silent for long.
const API_IDLE: &str = "1h";
/// Long enough for a quiet WebSocket.
const HTTPS_IDLE: &str = "10m";
const HTTP_IDLE: &str = "2m";

/// Returns nginx's whole configuration; the same on every gateway.
pub fn config(lab: &Lab) -> GuestFile {
    let ports = &lab.cluster.ports;
    let service = |name: &str, port: u16, servers: Vec<String>, idle: &str, proxy_protocol: bool| json!({ "name": name, "port": port, "servers": servers, "idle": idle, "proxy_protocol": proxy_protocol });
    let api = at(lab.control_planes(), ports.api);
    let https = at(lab.ingress_nodes(), ports.https_node_port);
    let http = at(lab.ingress_nodes(), ports.http_node_port);
    let proxy_protocol = lab.cluster.proxy_protocol;
    let values = json!({
        "liveness_port": LIVENESS_PORT,
        "services": [
            // The API server speaks no PROXY protocol.
            service("k8s_api", ports.api, api, API_IDLE, false),
            service("ingress_https", ports.https, https, HTTPS_IDLE, proxy_protocol),
            service("ingress_http", ports.http, http, HTTP_IDLE, proxy_protocol),
        ],
    });
    let text = render("guest/nginx.conf.j2", include_str!("../../cloud-init/guest/nginx.conf.j2"), values);
    GuestFile::new(CONFIG, 0o644, text)
}

fn at<'a>(nodes: impl Iterator<Item = &'a Node>, port: u16) -> Vec<String> {
    nodes.map(|node| format!("{}:{port}", node.address())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn the_vips_ports_lead_to_masters_and_workers() {
        let text = String::from_utf8(config(&fixture::lab()).content).unwrap();
        fixture::assert_golden("nginx.conf", &text);
    }

    #[test]
    fn the_proxy_protocol_is_for_the_workers_only() {
        let mut lab = fixture::lab();
        lab.cluster.proxy_protocol = true;
        let text = String::from_utf8(config(&lab).content).unwrap();
        assert_eq!(text.matches("proxy_protocol on;").count(), 2);
        let (_, server) = text.split_once("listen 6443;").unwrap();
        assert!(!server.split_once('}').unwrap().0.contains("proxy_protocol"));
    }
}
