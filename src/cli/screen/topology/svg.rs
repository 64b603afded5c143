//! The picture for documents: SVG without scripts or foreign fonts, in the reader's own light or dark.

use std::fmt::Write as _;

use super::{Diagram, Group, Machine, Mark};

/// All lengths are in the picture's own unit, which is a pixel where nobody scales it.
const MARGIN: usize = 24;
const GAP: usize = 16;
const BOX_WIDTH: usize = 168;
const LINE: usize = 20;
/// From a frame's edge to the first line of its words.
const INSET: usize = 14;
/// The words beside the VIP take as much.
const LEAST_COLUMNS: usize = 4;
/// Boxes in a row at most.
const IN_A_ROW: usize = 4;

/// Colours by what they mean. Without variables, which not every viewer knows.
const STYLE: &str = "\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328}
.title{font-weight:600}
.paper,.box{fill:#ffffff}
.frame,.line,.way{fill:none}
.frame,.box{stroke:#8c959f}
.line{stroke:#1f2328}
.way{stroke:#1a7f37;stroke-width:2}
.quiet,.absent{fill:#6e7781}
.well{fill:#1a7f37}
.unwell{fill:#a40e26}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
.paper,.box{fill:#0d1117}
.line{stroke:#e6edf3}
.way{stroke:#3fb950}
.quiet,.absent{fill:#8b949e}
.well{fill:#3fb950}
.unwell{fill:#ff7b72}
}";

/// Returns the whole file.
pub fn svg(diagram: &Diagram) -> String {
    let columns = diagram.groups.iter().map(|group| group.machines.len().min(IN_A_ROW)).max().unwrap_or(1);
    let columns = columns.max(diagram.gateways.len()).max(LEAST_COLUMNS);
    let width = 4 * MARGIN + columns * BOX_WIDTH + (columns - 1) * GAP;
    let mut sheet = Sheet { body: String::new(), width, y: MARGIN };
    sheet.home(diagram);
    sheet.cluster(diagram);
    let height = sheet.y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
        escaped(&format!("The networks and machines of the lab {}", diagram.name)),
        sheet.body
    )
}

struct Sheet {
    body: String,
    width: usize,
    /// How far down the picture is drawn.
    y: usize,
}

impl Sheet {
    /// The LAN and the gateways, whose boxes reach into the cluster's network.
    fn home(&mut self, diagram: &Diagram) {
        let top = self.y;
        let left = 2 * MARGIN;
        let middle = |place: usize| left + place * (BOX_WIDTH + GAP) + BOX_WIDTH / 2;
        let last = middle(diagram.gateways.len().max(1) - 1);
        let trunk = usize::midpoint(middle(0), last);
        self.text(left, top + 2 * LINE, "title", &format!("home network {}", diagram.lan));
        let name_at = top + 4 * LINE;
        self.text(left, name_at, "title", "you");
        let vip = trunk.max(left + 80);
        self.line("line", &[(left + 36, name_at - 5), (vip - 14, name_at - 5)]);
        let _ = writeln!(self.body, "<path class=\"line\" d=\"M{} {} l7 5 l-7 5\"/>", vip - 20, name_at - 10);
        let class = if diagram.vip.mark == Some(Mark::Unwell) { "title unwell" } else { "title" };
        self.text(vip - 8, name_at, class, &format!("VIP {}", diagram.vip.address));
        self.text(vip + 176, name_at, "", &diagram.vip.ports.join("  "));
        let fork = name_at + LINE;
        let boxes = fork + LINE;
        // The way to the VIP's holder comes last, over the others.
        let mut ways: Vec<(usize, &Machine)> = diagram.gateways.iter().enumerate().collect();
        ways.sort_by_key(|(_, machine)| machine.holds_vip);
        for (place, machine) in ways {
            let way = [(vip, name_at + 6), (vip, fork), (middle(place), fork), (middle(place), boxes)];
            self.line(if machine.holds_vip { "way" } else { "line" }, &way);
        }
        let height = 4 * LINE + INSET;
        let lan_edge = boxes + 2 * LINE + LINE / 3;
        self.frame(MARGIN, top, lan_edge - top);
        for (place, machine) in diagram.gateways.iter().enumerate() {
            let words = [machine.lan.as_deref().unwrap_or_default(), &machine.text, &machine.address];
            self.machine(left + place * (BOX_WIDTH + GAP), boxes, height, machine, &words);
        }
        self.y = boxes + height;
    }

    fn cluster(&mut self, diagram: &Diagram) {
        // The frame begins above the gateways' inner addresses.
        let top = self.y - LINE - INSET + LINE / 3;
        let from = self.body.len();
        self.y += GAP;
        let (name, subnet) = &diagram.internal;
        self.y += LINE;
        self.text(2 * MARGIN, self.y, "title", &format!("{name} {subnet}"));
        for group in &diagram.groups {
            self.group(group);
        }
        self.y += GAP;
        for note in &diagram.notes {
            self.y += LINE;
            self.text(2 * MARGIN, self.y, "quiet", note);
        }
        self.y += MARGIN;
        let inner = self.body.split_off(from);
        // Below the gateways' boxes, which stand on its edge.
        let gateways = std::mem::take(&mut self.body);
        self.frame(MARGIN, top, self.y - top);
        self.body.push_str(&gateways);
        self.body.push_str(&inner);
    }

    fn group(&mut self, group: &Group) {
        self.y += GAP + LINE;
        self.text(2 * MARGIN, self.y, "title", &group.title);
        let beside = 2 * MARGIN + (group.title.len() + 2) * 9;
        self.text(beside, self.y, "", &group.text);
        self.y += GAP;
        let height = 3 * LINE + INSET;
        for row in group.machines.chunks(IN_A_ROW) {
            for (place, machine) in row.iter().enumerate() {
                let left = 2 * MARGIN + place * (BOX_WIDTH + GAP);
                self.machine(left, self.y, height, machine, &[&machine.address, &machine.text]);
            }
            self.y += height + GAP / 2;
        }
    }

    fn machine(&mut self, left: usize, top: usize, height: usize, machine: &Machine, words: &[&str]) {
        let _ = writeln!(
            self.body,
            "<rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{BOX_WIDTH}\" height=\"{height}\" rx=\"6\"/>"
        );
        let class = machine.mark.map_or("", |mark| match mark {
            Mark::Well => "well",
            Mark::Unwell => "unwell",
            Mark::Absent => "absent",
        });
        if machine.mark.is_some() {
            let (x, y) = (left + BOX_WIDTH - 16, top + 16);
            let _ = writeln!(self.body, "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>");
        }
        self.text(left + 12, top + LINE, "title", &machine.name);
        for (index, word) in words.iter().enumerate() {
            let class = if *word == machine.text { class } else { "" };
            self.text(left + 12, top + (index + 2) * LINE, class, word);
        }
    }

    fn frame(&mut self, left: usize, top: usize, height: usize) {
        let width = self.width - 2 * left;
        let _ = writeln!(
            self.body,
            "<rect class=\"frame\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"
        );
    }

    fn line(&mut self, class: &str, points: &[(usize, usize)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        let _ = writeln!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    fn text(&mut self, x: usize, y: usize, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\"{class}>{}</text>", escaped(text));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
