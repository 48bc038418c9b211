//! The Rust SDK: connect, send, receive, resume.
//!
//! ```no_run
//! # use client::{Address, Config};
//! # type Outcome = Result<(), Box<dyn std::error::Error>>;
//! # async fn example(config: Config, bob: Address) -> Outcome {
//! let client = client::Client::connect(config).await?;
//! client.send(bob, "opaque ciphertext").await?; // durable in the cluster from here on
//! let mut inbox = client.inbox();
//! while let Some(event) = inbox.next().await {
//!     if let client::Event::Item(item) = event {
//!         item.ack(); // once it is processed; it never comes again
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! A [`Client`] keeps one connection to one edge after another. What was queued goes out again
//! until it is answered, across connections and, with a durable [`store`], restarts; what was not
//! acknowledged is shown again after a restart.
//!
//! What is only worth having now goes apart from that and is never stored: [`Client::signal`], such
//! as that somebody types, and who is online ([`Client::watch`], [`Client::show`]), told as
//! [`Hints`].

mod client;
mod config;
mod connection;
mod decision;
mod driver;
mod endpoint;
mod error;
mod hints;
mod inbox;
mod key;
mod shared;
mod status;
pub mod store;

pub use client::{Accepted, Client, Sending};
pub use config::{BoxFuture, Config, Servers, StaticToken, TokenError, TokenSource, Via};
pub use endpoint::Endpoint;
pub use error::{ChangeError, Closed, ConnectError, RequestError, SendError};
pub use hints::{Hint, Hints};
pub use inbox::{Event, Inbox, Item, Receipt};
pub use key::DeviceKey;
pub use link::tls::Roots;
pub use session::client::{HistoryPage, Limits, Outcome, SignalError};
pub use status::{Status, Statuses};
pub use wire::{
    Address, DeviceId, GroupId, MessageId, SendId, Seq, UserId,
    auth::{group_id, user_id},
    entity::{Device, Devices, Member, Roster},
    item::{Body, DeviceChange, GroupChange, Role, Verdict},
    server_frame::RejectReason,
};
