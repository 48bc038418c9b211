//! The stateless node: admit, publish, deliver, acknowledge.
//!
//! An edge holds client connections and nothing that must survive it. It authenticates devices,
//! appends what they send to the log and says *accepted* when the log says durable, and gives them
//! their mailbox in order: pushed by workers over the mesh when it can, read from the mailbox when
//! it must. It never writes to a mailbox.

mod admission;
mod budget;
mod catchup;
pub mod config;
mod connection;
mod control;
mod cursor;
mod drain;
pub mod edge;
mod ending;
mod head_check;
mod inbound;
mod jobs;
pub mod jwks;
mod listener;
pub mod metrics;
mod presence;
mod publish;
mod routes;
mod signals;
pub mod token;

pub use config::EdgeConfig;
pub use edge::{Edge, EdgeHandle, Parts, Readiness, RunError};
pub use metrics::EdgeMetrics;

/// Milliseconds since 1970, from whoever assembles the program.
pub type WallClock = fn() -> u64;
