//! Load tests of a message-routing cluster that can be believed.
//!
//! A [`scenario`] says who there is and what they do; [`population`] and [`arrivals`] draw it from
//! a seed; the [`generator`] does it, at its intended times, through a [`driver`] against a
//! [`cluster`], alone or by several [`agents`]; the [`ledger`] holds what was accepted and
//! delivered and judges it; [`measure`] counts and times; [`view`] shows it meanwhile, the
//! [`report`] afterwards, and [`compare`] sets two of them side by side.

pub mod agents;
pub mod arrivals;
mod cli;
pub mod clock;
pub mod cluster;
mod command;
pub mod compare;
pub mod driver;
pub mod exit;
pub mod generator;
pub mod ledger;
pub mod measure;
pub mod population;
pub mod report;
pub mod scenario;
pub mod view;

pub use cli::main;
