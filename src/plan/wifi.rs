//! Whether the gateways are bridged to a Wi-Fi card, which many access points do not put up with.

use crate::formats::routes::Route;
use crate::lab::Lab;
use crate::lab::lint::rules;
use crate::lab::problem::Problem;

/// Returns the Mac's interface that the gateways are bridged to: the one of the lab file, else the one that Fusion
/// chooses, which is that of the default route. None if nobody can tell.
pub fn bridged<'a>(lab: &'a Lab, routes: &'a [Route]) -> Option<&'a str> {
    let default = routes.iter().find(|route| route.destination.prefix_len() == 0);
    lab.lan.interface.as_deref().or(default.map(|route| route.interface.as_str()))
}

/// Warns of a bridge to one of these Wi-Fi interfaces.
pub fn warning(lab: &Lab, routes: &[Route], wifi: &[String]) -> Option<Problem> {
    let interface = bridged(lab, routes).filter(|interface| wifi.iter().any(|name| name == interface))?;
    let message = format!("the gateways are bridged to {interface}, which is Wi-Fi");
    let problem = rules::WIFI_BRIDGE.problem(None, message);
    Some(problem.help("use a cable, and name its card in the lab file, such as `lan: {interface: en4}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn only_a_bridge_to_a_wifi_card_is_warned_of() {
        let mut lab = fixture::lab();
        let route = |destination: &str, interface: &str| Route {
            destination: destination.parse().unwrap(),
            gateway: "192.168.68.1".to_owned(),
            interface: interface.to_owned(),
        };
        let routes = [route("10.0.0.0/8", "utun4"), route("0.0.0.0/0", "en0")];
        let wifi = ["en0".to_owned()];
        let warned = warning(&lab, &routes, &wifi).unwrap();
        assert!(warned.message.contains("en0"), "{}", warned.message);
        assert!(warning(&lab, &routes, &[]).is_none());
        assert!(warning(&lab, &[], &wifi).is_none(), "nobody knows what Fusion chooses");
        lab.lan.interface = Some("en4".to_owned());
        assert!(warning(&lab, &routes, &wifi).is_none());
    }
}
