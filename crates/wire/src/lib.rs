//! The nouns of Posthorn and their bytes: ids, envelopes, frames, records, limits.
//!
//! This is the only crate that knows a byte layout. The normative description is
//! `proto/posthorn.proto`; the modules here turn those bytes into types whose values are always
//! valid, and back. Anything from outside is parsed once, here, with every limit checked; no
//! function further in checks again.
//!
//! - [`id`]: users, devices, groups, messages, positions.
//! - [`item`]: what a mailbox holds.
//! - [`client_frame`], [`server_frame`], [`delivery_frame`], [`mesh`]: what streams carry.
//! - [`signal`]: what is only worth having now, and what datagrams carry.
//! - [`record`], [`entity`]: what the logs and the stores hold.
//! - [`codec`]: frames in a byte stream. [`limits`]: every bound of the protocol.
//! - [`auth`], [`shard`]: the bytes a device signs, and where a user or group lives.

pub mod auth;
pub mod client_frame;
pub mod codec;
pub mod delivery_frame;
pub mod entity;
pub mod error;
pub mod id;
pub mod item;
pub mod limits;
pub mod mesh;
pub mod record;
pub mod server_frame;
pub mod shard;
pub mod signal;
pub mod version;

pub use client_frame::ClientFrame;
pub use delivery_frame::DeliveryFrame;
pub use error::DecodeError;
pub use id::{
    Address, Counter, DeviceId, EdgeId, Epoch, Generation, GroupId, MessageId, Offset, Partition,
    RunId, SendId, Seq, Topic, TopicId, UserId,
};
pub use item::Item;
pub use server_frame::ServerFrame;

mod proto {
    //! Generated from `proto/posthorn.proto`; never edited, freshness checked by a test.
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    include!("generated/posthorn.v1.rs");
}
