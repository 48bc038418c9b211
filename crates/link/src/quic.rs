//! Connections over QUIC.

mod carrier;
mod client;
mod server;
mod socket;

pub(crate) use carrier::{Carrier, ReceiverCarrier, SenderCarrier, connect_error};
pub use client::ClientEndpoint;
pub use server::{Incoming, ServerEndpoint};
pub(crate) use socket::{bind, bind_anywhere};
