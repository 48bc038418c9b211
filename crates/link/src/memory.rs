//! Connections inside one process, without clock or chance.
//!
//! They behave as QUIC does where a program could notice: a stream shows up at the peer with its
//! first byte, streams and bytes on the way are bounded and more waits, and a close loses what was
//! not read. [`Hub::cut`] and [`cut`] are the faults.

mod connection;
mod hub;
mod pipe;

pub(crate) use connection::Carrier;
pub use connection::{cut, pair};
pub use hub::{Hub, MemoryListener};
pub(crate) use pipe::{ReceiverCarrier, SenderCarrier};
