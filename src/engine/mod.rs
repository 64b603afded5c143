//! Doing: carries out a plan once, resumably. Behaviour is decided in `plan`; here it only happens.

pub mod event;
