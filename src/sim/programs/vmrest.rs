//! `vmrest`: TODO in this commit.

use super::Screen;
use crate::sim::places::Places;

pub async fn run(_: &Places, _: &[String], screen: &mut Screen) -> u8 {
    screen.line("Not listening to either Unix Socket or TCP port, exiting");
    1
}
