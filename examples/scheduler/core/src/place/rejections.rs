//! x
/// x
#[derive(Debug)]
pub struct Rejections;
impl super::Cluster {
    /// x
    pub fn rejections(&mut self, _c: super::ClassId, _a: super::Ask) -> Rejections { Rejections }
}
