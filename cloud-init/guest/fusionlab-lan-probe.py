#!/usr/bin/env python3
"""usage: fusionlab-lan-probe SECONDS ADDRESS[,ADDRESS...] ROUTER_ID LAN_INTERFACE INTERNAL_INTERFACE OWN_MAC...

Says who else uses addresses of the LAN, or a VRRP router id there or on the cluster's own network, before a gateway
takes them. Asks for each address as RFC 5227 has it: three times, with no address of its own, so that no neighbour's
table changes; meanwhile it listens. Prints one key=value a line; the last line is done=SECONDS. Needs root; changes
nothing. What bears one of our own MACs is ours.
"""

import select
import socket
import struct
import sys
import time

PROBES = 3
ARP = 0x0806
IPV4 = 0x0800
VRRP = 112
VRRP_ADVERT = 1
VRRP_GROUP = bytes.fromhex("01005e000012")
ANYBODY = b"\xff" * 6
NOBODY = bytes(4)
# linux/if_packet.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_MULTICAST = 0
PACKET_OUTGOING = 4


def text_of(mac):
    return ":".join("%02x" % byte for byte in mac)


def listener(interface, protocol):
    """Returns a socket that hears all frames of a protocol on an interface."""
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    heard.bind((interface, protocol))
    return heard


def join_vrrp(heard, interface):
    """Has the card let through what is sent to all VRRP routers."""
    wish = struct.pack("iHH8s", socket.if_nametoindex(interface), PACKET_MR_MULTICAST, 6, VRRP_GROUP)
    heard.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, wish)


def probe(mac, address):
    """Returns an ARP request that nobody's table takes anything from."""
    head = ANYBODY + mac + struct.pack("!H", ARP)
    return head + struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + mac + NOBODY + bytes(6) + address


def claimed(frame, addresses, own):
    """Returns which of the addresses somebody has, or is about to take, by this ARP frame, with that one's MAC."""
    if len(frame) < 42 or frame[14:20] != struct.pack("!HHBB", 1, IPV4, 6, 4):
        return None
    sender, sender_address, target_address = frame[22:28], frame[28:32], frame[38:42]
    if sender in own:
        return None
    address = target_address if sender_address == NOBODY else sender_address
    return (socket.inet_ntoa(address), text_of(sender)) if address in addresses else None


def advert(frame, own):
    """Returns router id, address and MAC of whoever sent this frame, if it is a VRRP advert of somebody else."""
    if len(frame) < 34 or frame[23] != VRRP or frame[6:12] in own:
        return None
    start = 14 + (frame[14] & 0x0F) * 4
    if len(frame) < start + 2 or frame[start] & 0x0F != VRRP_ADVERT:
        return None
    return frame[start + 1], socket.inet_ntoa(frame[26:30]), text_of(frame[6:12])


def main():
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    window, router_id = float(sys.argv[1]), int(sys.argv[3])
    addresses = [socket.inet_aton(address) for address in sys.argv[2].split(",")]
    interfaces, own = sys.argv[4:6], {bytes.fromhex(mac.replace(":", "")) for mac in sys.argv[6:]}
    arp = listener(interfaces[0], ARP)
    mac = arp.getsockname()[4]
    own.add(mac)
    adverts = {}
    for interface in interfaces:
        heard = listener(interface, IPV4)
        join_vrrp(heard, interface)
        adverts[heard] = interface

    said = set()
    began = time.monotonic()
    sent = 0
    while True:
        now = time.monotonic() - began
        if now >= window:
            break
        if sent < PROBES and now >= sent * window / (PROBES + 1):
            for address in addresses:
                arp.send(probe(mac, address))
            sent += 1
        due = min(window, sent * window / (PROBES + 1) if sent < PROBES else window)
        ready, _, _ = select.select([arp, *adverts], [], [], max(0.0, due - now))
        for heard in ready:
            frame, sender = heard.recvfrom(2048)
            if sender[2] == PACKET_OUTGOING:
                continue
            if heard is arp:
                who = claimed(frame, addresses, own)
                line = who and "address=%s %s" % who
            else:
                who = advert(frame, own)
                line = who and who[0] == router_id and "router=%s %d %s %s" % (adverts[heard], *who)
            if line and line not in said:
                said.add(line)
                print(line, flush=True)
    print("done=%g" % window, flush=True)


main()
