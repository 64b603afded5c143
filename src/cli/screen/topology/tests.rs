//! The picture at all widths, and what it promises: every address, nothing beyond the edge, nothing that is not the lab's.

use super::super::status::Status;
use super::super::status::tests::{facts, fusion, lab};
use super::{Diagram, Mark, lines, list, svg};
use crate::cli::terminal::Pen;

fn seen() -> Diagram {
    let lab = lab();
    Diagram::of(&lab, Some(&Status::new(&lab, &facts(), &fusion(true))))
}

#[test]
fn the_gateways_stand_in_both_networks() {
    let drawn = lines(&Diagram::of(&lab(), None), &Pen::plain(72));
    assert_eq!(
        drawn.join("\n"),
        "\
╭─ home network 192.168.68.0/24 ───────────────────────────────────────╮
│                                                                      │
│ you ───────────────▶ VIP 192.168.68.200                              │
│                       │  :6443 API  :443 HTTPS  :80 HTTP             │
│                       │                                              │
│            ╭──────────┴───────────╮                                  │
│  ╭─────────┴─────────╮  ╭─────────┴─────────╮                        │
│  │ gateway1          │  │ gateway2          │                        │
╰──┤ 192.168.68.56     ├──┤ 192.168.68.57     ├────────────────────────╯
   │ nginx, Keepalived │  │ nginx, Keepalived │
╭──┤ 10.10.0.11        ├──┤ 10.10.0.12        ├── vmnet2 10.10.0.0/24 ─╮
│  ╰───────────────────╯  ╰───────────────────╯                        │
│                                                                      │
│  control plane  API :6443 behind 10.10.0.10, etcd; NodePorts 30443   │
│                 and 30080                                            │
│  ╭───────────────╮                                                   │
│  │ k8s-master1   │                                                   │
│  │ 10.10.0.131   │                                                   │
│  │ 2 CPUs, 2 GiB │                                                   │
│  ╰───────────────╯                                                   │
│                                                                      │
│  pods 10.244.0.0/16, services 10.96.0.0/12: Cilium, no kube-proxy    │
│  to the internet through 10.10.0.2; this Mac is 10.10.0.1            │
╰──────────────────────────────────────────────────────────────────────╯
"
        .trim_end()
    );
}

#[test]
fn at_every_width_all_is_there_and_nothing_sticks_out() {
    for diagram in [seen(), Diagram::of(&lab(), None)] {
        for width in 30..120 {
            let drawn = lines(&diagram, &Pen::plain(width));
            let text = drawn.join("\n");
            for line in &drawn {
                assert!(console::measure_text_width(line) <= width, "{width}: {line}");
            }
            let machines =
                diagram.gateways.iter().chain(diagram.groups.iter().flat_map(|group| &group.machines));
            for machine in machines {
                for word in [Some(&machine.name), Some(&machine.address), machine.lan.as_ref()] {
                    assert!(word.is_none_or(|word| text.contains(word)), "{width} lacks {word:?}:\n{text}");
                }
            }
            for word in ["192.168.68.200", ":6443 API", ":443 HTTPS", ":80 HTTP", "10.10.0.0/24", "30443"] {
                assert!(text.contains(word), "{width} lacks {word}:\n{text}");
            }
        }
    }
}

#[test]
fn what_was_seen_is_in_the_boxes_and_the_way_goes_to_the_holder() {
    let diagram = seen();
    let texts = |machines: &[super::Machine]| {
        machines.iter().map(|machine| (machine.text.clone(), machine.mark.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&diagram.gateways),
        [("holds the VIP".to_owned(), Mark::Well), ("stopped".to_owned(), Mark::Unwell)]
    );
    assert_eq!(texts(&diagram.groups[0].machines), [("Ready".to_owned(), Mark::Well)]);
    assert_eq!(diagram.vip.mark, Some(Mark::Well));
}

#[test]
fn where_nobody_holds_the_vip_the_gateways_are_unwell() {
    let mut facts = facts();
    facts.guests.get_mut("gateway1").unwrap().addresses.clear();
    let status = Status::new(&lab(), &facts, &fusion(true));
    let gateway = Diagram::of(&lab(), Some(&status)).gateways.remove(0);
    assert_eq!((gateway.text.as_str(), gateway.mark), ("no VIP", Some(Mark::Unwell)));
}

#[test]
fn without_unicode_the_picture_is_ascii_and_of_the_same_size() {
    let pen = Pen { unicode: false, ..Pen::plain(80) };
    let (drawn, fine) = (lines(&seen(), &pen), lines(&seen(), &Pen::plain(80)));
    assert!(drawn.iter().all(|line| line.is_ascii()), "{drawn:#?}");
    let widths = |lines: &[String]| lines.iter().map(|line| line.chars().count()).collect::<Vec<_>>();
    assert_eq!(widths(&drawn), widths(&fine));
}

#[test]
fn in_words_nothing_is_drawn_and_all_is_there() {
    let told = list(&Diagram::of(&lab(), None), &Pen::plain(80)).join("\n");
    assert!(
        told.contains(
            "  gateway1: 192.168.68.56 in the home network, 10.10.0.11 on vmnet2; nginx,\n  Keepalived\n"
        ),
        "{told}"
    );
    assert!(told.is_ascii() && !told.contains("--") && !told.contains('|'), "{told}");
    assert!(told.contains("VIP 192.168.68.200") && told.contains("  control plane: API :6443"), "{told}");
}

#[test]
fn the_svg_is_whole_and_has_every_address() {
    let mut diagram = seen();
    diagram.groups[0].machines[0].text = "a < b & \"c\"".to_owned();
    let picture = svg(&diagram);
    assert!(picture.contains("a &lt; b &amp; &quot;c&quot;"));
    let document = picture.replace("&quot;", "");
    assert_eq!(document.matches("<text").count(), document.matches("</text>").count());
    assert!(document.starts_with("<svg ") && document.ends_with("</svg>\n"));
    for word in ["192.168.68.200", "192.168.68.56", "10.10.0.11", "10.10.0.131", "10.244.0.0/16"] {
        assert!(picture.contains(word), "{word}");
    }
    assert!(
        !picture.contains("<script") && !picture.contains("http:") || picture.matches("http").count() == 1
    );
}
