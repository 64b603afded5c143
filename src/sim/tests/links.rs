//! Cards whose link is cut: what still reaches their machine, and what reaches it again.

use super::machine::{ADDRESS, ECHO_PORT, MAC, Mac};
use crate::sim::faults::{self, Fault, LINK_DOWN, LINK_SILENT};
use crate::sim::install;

#[tokio::test]
async fn a_machine_whose_link_is_cut_is_reached_by_nobody_until_it_is_mended() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    for name in [LINK_DOWN, LINK_SILENT] {
        let target = Some("master/ens160".to_owned());
        let fault = Fault { name: name.to_owned(), target, times: None, after: 0 };
        faults::plant(&mac.places, fault).unwrap();
        install::links_changed(mac.places.root()).await.unwrap();
        assert!(mac.dial(ADDRESS, ECHO_PORT).await.is_err(), "{name}");
        assert_eq!(faults::clear_those(&mac.places, Some(name), Some("master/ens160")).unwrap(), 1);
        assert!(mac.dial(ADDRESS, ECHO_PORT).await.is_ok(), "{name} is over");
    }
}
