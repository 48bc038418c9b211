//! Framed, bounded channels between processes: QUIC, and memory for tests.
//!
//! A [`Connection`] carries a few streams; a stream is a [`Sender`] on one side and a [`Receiver`]
//! on the other. Nothing here knows what the bytes mean, and nothing above knows which library
//! carries them.
//!
//! - [`quic`]: what clients and edges use between them.
//! - [`memory`]: the same inside one process, without a clock or chance, with faults on demand.
//! - [`mesh`]: workers to edges, over either, with names checked on both sides.
//! - [`tls`], [`secret`]: certificates, and the keys all edges share.
//! - [`config`]: every limit. [`error`]: what can end, and what to do then.

pub mod config;
mod connection;
mod connection_id;
pub mod error;
pub mod memory;
pub mod mesh;
pub mod quic;
pub mod secret;
mod ticket;
pub mod tls;

pub use connection::{Connection, Receiver, Sender};
pub use error::{Closed, LinkError, SetupError};
pub use mesh::{MeshDialer, MeshListener};
