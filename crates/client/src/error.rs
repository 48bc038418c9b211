//! Why something was not done, by what the caller should do.

use session::client::EnqueueError;
use wire::{item::Verdict, server_frame::RejectReason};

/// Why a client has ended. It does not connect again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The application closed or dropped it.
    #[error("the client was closed")]
    Here,
    /// The device was revoked: it needs a new store, hence a new key.
    #[error("this device was revoked")]
    Revoked,
    /// Another process connected as the same device.
    #[error("another process uses the same device")]
    Displaced,
    /// The user has as many devices as allowed: revoke one first.
    #[error("the user has as many devices as allowed")]
    TooManyDevices,
    /// Token or signature were refused.
    #[error("the cluster refused the token")]
    Unauthenticated,
    /// The token is good, but of another user than the one the store belongs to.
    #[error("the token names another user than the one this store belongs to")]
    WrongUser,
    /// No protocol version in common: update the program.
    #[error("the cluster speaks no protocol version this program knows")]
    Version,
    /// The server's certificate is not trusted, or has another name.
    #[error("the server is not trusted: {0}")]
    Untrusted(String),
    /// The store failed; nothing was transmitted that it does not hold.
    #[error("the store failed: {0}")]
    Store(String),
}

/// Why a client did not connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It will not, until somebody changes something.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Not in time; trying later may help.
    #[error("not connected in time: {0}")]
    Unreachable(String),
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
}

/// Why a send was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// As much waits for its answer as may: send again when something was answered.
    #[error("too many sends wait for their answer")]
    Full,
    /// The payload is over 64 KiB: send a reference to an attachment.
    #[error("a payload over 64 KiB")]
    PayloadSize,
    /// The cluster will never accept it.
    #[error("rejected: {0:?}")]
    Rejected(RejectReason),
    /// The client ended first. What was queued is in the store and goes out when a client starts
    /// with it again.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<EnqueueError> for SendError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Full(_) => Self::Full,
            EnqueueError::PayloadSize => Self::PayloadSize,
        }
    }
}

/// Why a change did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The cluster decided against it.
    #[error("refused: {0:?}")]
    Refused(Verdict),
    /// It was not accepted.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such group, or this user is not a member.
    #[error("no such group, or you are not a member")]
    NotFound,
    /// Ask again later.
    #[error("the cluster cannot answer now")]
    Unavailable,
    /// Too many questions wait: ask again when one was answered.
    #[error("too many requests wait for their answer")]
    TooMany,
    /// The client has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}
