//! What `ip -4 route` prints: one route a line, its destination first.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Finding;
use super::text::short;

/// The router that a route leads by.
fn via(line: &str) -> Option<Ipv4Addr> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "via");
    words.nth(1)?.parse().ok()
}

/// Wants one default route, by this router.
pub fn default(router: Ipv4Addr, text: &str) -> Finding {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("default")).collect();
    match lines.as_slice() {
        [] => Err("no default route".to_owned()),
        [one] if via(one) == Some(router) => Ok(format!("via {router}")),
        [one] => Err(short(one)),
        several => Err(format!("{} default routes: {}", several.len(), short(&several.join(", ")))),
    }
}

/// Wants of a member a route to a part of the pod network by each other member, and none by anybody else.
pub fn pods(pods: Ipv4Net, members: &BTreeMap<String, Ipv4Addr>, own: &str, text: &str) -> Finding {
    let route = |line: &str| {
        let part: Ipv4Net = line.split_whitespace().next()?.parse().ok()?;
        // Its own part leads to Cilium's own interface, by an address of that part.
        Some((part, via(line)?)).filter(|(part, via)| pods.contains(part) && !pods.contains(via))
    };
    let routes: Vec<(Ipv4Net, Ipv4Addr)> = text.lines().filter_map(route).collect();
    let others = members.iter().filter(|(name, _)| name.as_str() != own);
    let missing: Vec<String> = others
        .clone()
        .filter(|(_, address)| !routes.iter().any(|(_, via)| via == *address))
        .map(|(name, address)| format!("none to {name}'s pods via {address}"))
        .collect();
    if !missing.is_empty() {
        return Err(missing.join(", "));
    }
    match routes.iter().find(|(_, via)| !others.clone().any(|(_, address)| address == via)) {
        Some((part, stranger)) => Err(format!("{part} via {stranger}, who is no other node")),
        None => Ok(format!("{} of {}", routes.len(), others.count())),
    }
}
