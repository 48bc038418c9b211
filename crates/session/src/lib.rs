//! The client-edge conversation as two state machines without clock or socket.
//!
//! `handle_*` takes an event, `poll_*` yields what has to be done; time and randomness come in as
//! arguments, and every collection iterates in a fixed order, so that the same events always lead
//! to the same bytes. Whoever drives a half owns the connection, the clock and the store.
//!
//! - [`edge`]: the edge's half: admit, publish, deliver, acknowledge.
//! - [`client`]: the client's half: outbox, inbox, requests, and what must outlive the process.
//! - [`restored`], [`repeats`]: what of a client outlives its process.
//! - [`signals`]: the edge's half of what is never stored.
//! - [`close`]: why a connection ends.

pub mod client;
pub mod close;
mod delivery;
pub mod edge;
mod event;
mod inbox;
mod outbox;
mod publish;
pub mod repeats;
mod requests;
pub mod restored;
mod sightings;
pub mod signals;
