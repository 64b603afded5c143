//! What the lab wants of Fusion's networking file.

use crate::formats::networking::Wish;
use crate::lab::Lab;

/// Returns the vmnet, its subnet and an address reservation for every node's internal card.
pub fn wish(lab: &Lab) -> Wish {
    let cards = lab.nodes.iter().map(crate::lab::Node::internal);
    Wish {
        vmnet: lab.internal.vmnet,
        subnet: lab.internal.subnet,
        reservations: cards.map(|card| (card.mac, card.address)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    #[test]
    fn every_machine_has_a_reservation_on_the_internal_network() {
        let lab = fixture::lab();
        let wish = wish(&lab);
        assert_eq!((wish.vmnet, wish.reservations.len()), (2, lab.nodes.len()));
        assert!(wish.reservations.iter().all(|(_, address)| wish.subnet.contains(address)));
    }
}
