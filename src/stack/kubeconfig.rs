//! The kubeconfig of the lab's user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::lab::Lab;
use crate::stack::identity::Identity;
use crate::stack::pki::Pair;

/// Renders a kubeconfig whose cluster and context bear the lab's name; JSON, which is YAML too.
///
/// `server` is an URL such as `https://192.168.68.200:6443`, `proxy_url` one such as `socks5://127.0.0.1:1080`.
/// The text holds the admin's private key.
pub fn render(lab: &Lab, identity: &Identity, server: &str, proxy_url: Option<&str>) -> String {
    let user = format!("{}-admin", lab.name);
    let place = Place { server, ca: &identity.cluster_ca.certificate, proxy_url };
    config(&lab.name, &user, &place, &identity.admin)
}

/// Renders the kubeconfig of a user of the cluster's own, such as a kubelet. It holds the user's private key.
pub fn of_user(cluster: &str, user: &str, server: &str, ca: &str, pair: &Pair) -> String {
    config(cluster, user, &Place { server, ca, proxy_url: None }, pair)
}

/// Where an API server is, and by which authority it is known.
struct Place<'a> {
    server: &'a str,
    ca: &'a str,
    proxy_url: Option<&'a str>,
}

fn config(name: &str, user: &str, place: &Place, pair: &Pair) -> String {
    let mut cluster = json!({
        "server": place.server,
        "certificate-authority-data": STANDARD.encode(place.ca),
    });
    if let Some(proxy_url) = place.proxy_url {
        cluster["proxy-url"] = proxy_url.into();
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": STANDARD.encode(&pair.certificate),
                "client-key-data": STANDARD.encode(pair.key.expose_secret()),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": user } }],
        "current-context": name,
    });
    format!("{config:#}\n")
}

/// Returns the API server's URL as users know it: at the LAN VIP.
pub fn lan_server(lab: &Lab) -> String {
    format!("https://{}:{}", lab.lan.vip, lab.cluster.ports.api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn the_context_is_the_labs_and_the_server_its_vip() {
        let (lab, identity) = fixture::document();
        let text = render(&lab, &identity, &lan_server(&lab), Some("socks5://127.0.0.1:1080"));
        let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(config["current-context"], "lab");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://192.168.68.200:6443");
        assert_eq!(config["clusters"][0]["cluster"]["proxy-url"], "socks5://127.0.0.1:1080");
        assert!(render(&lab, &identity, "https://x", None).find("proxy-url").is_none());
    }
}
