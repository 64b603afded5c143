//! Thinking: from a lab and the facts observed about the world to the steps that are missing.
//!
//! Nothing here does anything. [`up`], [`template`] and [`destroy`] are the lists to read; [`facts`] is what
//! they look at, [`step`] what they yield, [`kind`] and [`costs`] what is the same in every list, [`lint`] what must hold
//! of every plan, [`text`] how a plan looks on screen, [`drift`] the words for what was found otherwise. [`survey`] and
//! [`health`] are beside them: Fusion's networks, and whether they are in order; so are [`wifi`], [`lan`] and [`loss`],
//! whose only words are warnings.

pub mod costs;
pub mod desired;
pub mod destroy;
pub mod drift;
pub mod drill;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod health;
pub mod kind;
pub mod lan;
pub mod lint;
pub mod loss;
pub mod networks;
pub mod obstacle;
pub mod rendering;
pub mod step;
pub mod survey;
pub mod template;
pub mod text;
pub mod up;
pub mod wifi;
