//! A load from several machines: one coordinator, and agents that play parts of the population.
//!
//! The coordinator is the process of `loadtest run --agents`. It leads a [`Crew`] through the
//! scenario as it would lead a generator of its own, and judges their ledgers together. An agent
//! is `loadtest agent`: it waits for a coordinator, serves it for one run, and waits again.
//!
//! They speak over the mesh of [`link`]: QUIC, where each side shows a certificate of an authority
//! made for this alone ([`keys`]), since whoever commands an agent commands a weapon. Agents keep
//! the coordinator's clock ([`offset`]), so that all begin at one time and a message's latency can
//! be told between machines. The key that signs tokens stays with the coordinator.

mod agent;
mod crew;
mod frame;
pub mod keys;
mod message;
mod offset;
mod parts;
mod play;
mod portion;
mod seat;
mod session;
mod tokens;

use std::time::Duration;

pub use agent::{Agent, Settings};
pub use crew::{Crew, Job};
pub use message::Means;
pub use parts::split;

/// Whoever says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
