//! stub
use crate::sim::seam::*;
use std::sync::Arc;
#[derive(Default)]
pub struct Commons;
pub struct Model;
impl Model {
    pub fn new(_: Hardware, _: Option<Vec<u8>>, _: Arc<dyn Surroundings>, _: Arc<Commons>) -> Arc<Self> {
        Arc::new(Model)
    }
}
#[async_trait::async_trait]
impl Machine for Model {
    async fn boot(self: Arc<Self>) {}
    fn ssh(&self) -> Option<SshFace> {
        None
    }
    async fn exec(&self, _: &str, _: &str, _: Vec<u8>, _: tokio::sync::mpsc::Sender<Chunk>) -> i32 {
        0
    }
    fn addresses(&self) -> Vec<(Segment, std::net::Ipv4Addr)> {
        vec![]
    }
    fn accept(self: Arc<Self>, _: std::net::SocketAddrV4, _: Wire) -> std::io::Result<()> {
        Ok(())
    }
    fn tools_running(&self) -> bool {
        false
    }
    async fn shut_down(&self) {}
    fn pull_plug(&self) {}
}
