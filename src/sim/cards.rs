//! Network cards: slots, networks and MAC addresses of a VMX, settled as Fusion settles them at power-on.

use std::collections::BTreeSet;

use super::inside;
use super::network::Networks;
use super::power::{Cause, is_true, number};
use super::seam::{Card, Segment};
use crate::formats::mac::Mac;
use crate::formats::vmx::Vmx;

/// Cards that a VM can have.
const MAX_CARDS: u32 = 10;
/// Slots in the order in which they are given away (facts/vm-images-cloudinit.md §1.5).
const FREE_SLOTS: &[u32] = &[160, 192, 224, 256, 1184, 1216, 1248, 1280, 2208, 2240, 2272, 2304];
/// Other devices that sit in slots, in the order in which Fusion places them.
const OTHER_DEVICES: &[&str] = &["nvme0", "usb_xhci", "sata0"];
const NAT_VMNET: u8 = 8;
const HOST_ONLY_VMNET: u8 = 1;

/// Connects every card of a VMX, and writes what Fusion writes: slots and generated addresses.
///
/// # Errors
/// With the words for vmware.log if a card cannot be had.
pub fn connect(config: &mut Vmx, networks: &Networks, taken: &BTreeSet<Mac>) -> Result<Vec<Card>, Cause> {
    let mut slots = BTreeSet::new();
    let mut macs = taken.clone();
    let mut cards = Vec::new();
    for number in 0..MAX_CARDS {
        if !is_true(config, &format!("ethernet{number}.present")) {
            continue;
        }
        let card = Key(number);
        let slot = settle_slot(config, &format!("ethernet{number}"), &mut slots)
            .ok_or_else(|| format!("No PCIe slot available for Ethernet{number}."))?;
        let mac = settle_mac(config, card)?;
        if !macs.insert(mac) {
            inside::witness("a second machine with one MAC");
            return Err(format!("The MAC address {mac} of Ethernet{number} is in use by another adapter."));
        }
        // The guest sees nothing of a legacy e1000 (facts/vm-images-cloudinit.md §1.3).
        let visible = match card.get(config, "virtualDev").as_deref() {
            Some("vmxnet3" | "e1000e") => true,
            Some("e1000") | None => false,
            Some(other) => return Err(format!("Invalid value \"{other}\" for ethernet{number}.virtualDev.")),
        };
        if card.get(config, "startConnected").as_deref() == Some("FALSE") || !visible {
            continue;
        }
        let segment = segment_of(config, card)?;
        if let Segment::Vmnet(vmnet) = segment
            && networks.running(vmnet).is_none()
        {
            return Err(format!(
                "Could not connect 'Ethernet{number}' to virtual network '/dev/vmnet{vmnet}'. \
                 Failed to start the virtual device 'Ethernet{number}'."
            ));
        }
        cards.push(Card { mac, segment, name: guest_name(slot) });
    }
    for device in OTHER_DEVICES {
        if is_true(config, &format!("{device}.present")) {
            // Fusion finds these a place of their own if theirs is taken.
            settle_slot(config, device, &mut slots);
        }
    }
    Ok(cards)
}

/// The number of a card in the VMX.
#[derive(Clone, Copy)]
struct Key(u32);

impl Key {
    fn name(self, key: &str) -> String {
        format!("ethernet{}.{key}", self.0)
    }

    fn get(self, config: &Vmx, key: &str) -> Option<String> {
        config.get(&self.name(key)).filter(|value| !value.is_empty())
    }
}

/// Returns a device's slot: its own if it is free and its bridge exists, or else the next free one.
fn settle_slot(config: &mut Vmx, device: &str, taken: &mut BTreeSet<u32>) -> Option<u32> {
    let key = format!("{device}.pciSlotNumber");
    let wanted = number(config, &key);
    let usable = |slot: &u32| has_bridge(config, *slot) && !taken.contains(slot);
    let slot = wanted.filter(usable).or_else(|| FREE_SLOTS.iter().copied().find(usable))?;
    taken.insert(slot);
    if wanted != Some(slot) {
        config.set(&key, &slot.to_string());
    }
    Some(slot)
}

/// Says whether the bridge that a slot lies behind is there: bits 5 to 9 hold its number plus one.
fn has_bridge(config: &Vmx, slot: u32) -> bool {
    match slot >> 5 & 0x1f {
        0 => true,
        bridge => is_true(config, &format!("pciBridge{}.present", bridge - 1)),
    }
}

/// Returns the guest's name of the card in a slot (facts/vm-images-cloudinit.md §1.5).
fn guest_name(slot: u32) -> String {
    let (function, bridge) = (slot >> 10, slot >> 5 & 0x1f);
    let behind_legacy_bridge = bridge <= 1;
    let seen = if behind_legacy_bridge { slot } else { bridge * 32 + function };
    format!("ens{seen}")
}

fn segment_of(config: &Vmx, card: Key) -> Result<Segment, Cause> {
    // A left-over bsdName overrides the choice (facts/fusion-networking.md §4).
    if card.get(config, "bsdName").is_some() {
        return Ok(Segment::Lan);
    }
    let kind = card.get(config, "connectionType").unwrap_or_else(|| "bridged".to_owned());
    match kind.as_str() {
        "bridged" => Ok(Segment::Lan),
        "nat" => Ok(Segment::Vmnet(NAT_VMNET)),
        "hostonly" => Ok(Segment::Vmnet(HOST_ONLY_VMNET)),
        "custom" => {
            let vnet = card.get(config, "vnet").unwrap_or_default();
            let number = vnet.trim_start_matches("/dev/").strip_prefix("vmnet");
            match number.and_then(|number| number.parse().ok()) {
                Some(0) => Ok(Segment::Lan),
                Some(number) => Ok(Segment::Vmnet(number)),
                None => Err(format!("Invalid value \"{vnet}\" for {}.", card.name("vnet"))),
            }
        }
        other => Err(format!("Invalid value \"{other}\" for {}.", card.name("connectionType"))),
    }
}

fn settle_mac(config: &mut Vmx, card: Key) -> Result<Mac, Cause> {
    let kind = card.get(config, "addressType").unwrap_or_else(|| "generated".to_owned());
    match kind.as_str() {
        "static" => {
            let text = card.get(config, "address").unwrap_or_default();
            let mac: Mac = text.parse().map_err(|error| format!("Ethernet{}: {error}", card.0))?;
            let unchecked = card.get(config, "checkMACAddress").as_deref() == Some("FALSE");
            if !mac.is_vmware_static() && !unchecked {
                return Err(format!("MAC address {mac} is not an allowed static Ethernet address."));
            }
            Ok(mac)
        }
        "generated" => {
            if let Some(mac) = card.get(config, "generatedAddress").and_then(|text| text.parse().ok()) {
                return Ok(mac);
            }
            let mac = generated(&config.get("uuid.bios").unwrap_or_default(), card.0);
            config.set(&card.name("generatedAddress"), &mac.to_string());
            config.set(&card.name("generatedAddressOffset"), &(card.0 * 10).to_string());
            Ok(mac)
        }
        other => Err(format!("Invalid value \"{other}\" for {}.", card.name("addressType"))),
    }
}

/// Returns the generated address of a VM's card: its last bytes come from the VM's UUID.
fn generated(uuid: &str, number: u32) -> Mac {
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    let tail = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
    let low = u32::from_str_radix(tail, 16).unwrap_or(0).wrapping_add(number * 10);
    let [_, a, b, c] = low.to_be_bytes();
    Mac::new([0x00, 0x0c, 0x29, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_named_as_linux_names_them() {
        for (slot, name) in
            [(160, "ens160"), (192, "ens192"), (1184, "ens161"), (1216, "ens193"), (33, "ens33")]
        {
            assert_eq!(guest_name(slot), name);
        }
    }

    #[test]
    fn a_taken_slot_moves_the_later_device() {
        let text = "pciBridge4.present = \"TRUE\"\npciBridge5.present = \"TRUE\"\na.pciSlotNumber = \"160\"\n\
                    b.pciSlotNumber = \"160\"\n";
        let mut config = Vmx::parse(text).unwrap();
        let mut taken = BTreeSet::new();
        assert_eq!(settle_slot(&mut config, "a", &mut taken), Some(160));
        assert_eq!(settle_slot(&mut config, "b", &mut taken), Some(192));
        let function = settle_slot(&mut config, "c", &mut taken);
        assert_eq!(function, Some(1184), "bridge 4's next function: bridges 6 and 7 are missing");
        assert_eq!(config.get("b.pciSlotNumber").as_deref(), Some("192"));
    }
}
