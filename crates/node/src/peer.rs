//! A device of a person, connected to a cluster, for the commands that talk to one.

use std::{sync::Arc, time::Duration};

use client::{
    ChangeError, Client, Closed, Config, ConnectError, RequestError, SendError, Servers,
    TokenError, Via,
    store::{FileStore, StoreError},
};
use link::tls::Roots;
use wire::{item::Verdict, server_frame::RejectReason};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
    locate::{DEVICE_DEFAULT, Place},
};

/// A command gives up connecting after this.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The device that sends while another process holds the usual one.
const DEVICE_SECOND: &str = "second";

/// What a command does with the device's mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It reads and acknowledges: it must be the device that was meant.
    Reads,
    /// It only sends or asks: any device of the person will do when none was named.
    Sends,
}

/// Connects a device to the place.
///
/// # Errors
/// When the device is in use, or the cluster cannot be reached or refuses.
///
/// # Cancel safety
/// A dropped call leaves nothing running.
pub async fn connect(place: &Place, purpose: Use) -> Outcome<Client> {
    let config = config(place, open_store(place, purpose)?)?;
    Client::connect(config).await.map_err(|error| connect_failure(place, &error))
}

fn open_store(place: &Place, purpose: Use) -> Outcome<FileStore> {
    let device = place.device.as_deref().unwrap_or(DEVICE_DEFAULT);
    match FileStore::open(place.store(device)) {
        Ok(store) => Ok(store),
        Err(StoreError::InUse(_)) if purpose == Use::Sends && place.device.is_none() => {
            FileStore::open(place.store(DEVICE_SECOND))
                .map_err(|error| store_failure(place, DEVICE_SECOND, &error))
        }
        Err(error) => Err(store_failure(place, device, &error)),
    }
}

fn config(place: &Place, store: FileStore) -> Outcome<Config> {
    let roots = Roots::from_pem(&place.roots).map_err(|error| {
        Failure::new(Code::CertificateUnusable, format!("the certificate authority: {error}"))
            .at("--ca")
            .remedy("name a PEM file with the authority of the cluster")
    })?;
    let servers = Servers::Quic {
        addresses: place.servers.clone(),
        server_name: place.server_name.clone(),
        via: Via::Own(roots),
    };
    let source = Arc::clone(&place.token);
    let token = move || {
        let token = source().map_err(|failure| TokenError(failure.to_string()));
        std::future::ready(token)
    };
    let mut config = Config::new(servers, token, store);
    config.agent = concat!("posthorn/", env!("CARGO_PKG_VERSION")).to_owned();
    config.connect_within = CONNECT_WITHIN;
    Ok(config)
}

fn store_failure(place: &Place, device: &str, error: &StoreError) -> Failure {
    let folder = place.store(device).display().to_string();
    match error {
        StoreError::InUse(_) => {
            let what = format!("another process uses the device `{device}` of {}", place.person);
            Failure::new(Code::DeviceInUse, what)
                .at(folder)
                .remedy("give this one its own device, for example --device laptop")
        }
        StoreError::Corrupt { .. } | StoreError::System { .. } | StoreError::Failed => {
            Failure::new(Code::DeviceStore, error.to_string())
                .at(folder)
                .remedy("check that the disk has room and the folder is yours")
        }
    }
}

fn connect_failure(place: &Place, error: &ConnectError) -> Failure {
    match error {
        ConnectError::Closed(closed) => closed_failure(closed),
        ConnectError::Unreachable(problem) => Failure::new(
            Code::CannotConnect,
            format!("no connection within {CONNECT_WITHIN:?}: {problem}"),
        )
        .at(format!("UDP {}", place.servers.join(", ")))
        .remedy("is `posthorn dev`, or the cluster, running? does UDP get through?"),
        ConnectError::Config(problem) => Failure::new(Code::CannotConnect, problem.clone())
            .at(place.servers.join(", "))
            .remedy("check --server and --ca"),
    }
}

/// Why a client ended.
#[must_use]
pub fn closed_failure(closed: &Closed) -> Failure {
    let (code, remedy) = match closed {
        Closed::Here => (Code::Internal, "please report it"),
        Closed::Revoked => (Code::DeviceRevoked, "use another device: --device NAME"),
        Closed::Displaced => (Code::DeviceDisplaced, "give each program its own --device NAME"),
        Closed::TooManyDevices => (
            Code::TooManyDevices,
            "revoke one: `posthorn device list`, `posthorn device revoke ID`",
        ),
        Closed::Unauthenticated => (
            Code::TokenRefused,
            "get a fresh token, and compare its iss and aud with the cluster's",
        ),
        Closed::WrongUser => (Code::TokenRefused, "use another --device NAME for this person"),
        Closed::Version => (Code::VersionUnknown, "upgrade the older of client and cluster"),
        Closed::Untrusted(_) => {
            (Code::NotTrusted, "name the authority of this cluster with --ca FILE")
        }
        Closed::Store(_) => (Code::DeviceStore, "check that the disk has room"),
    };
    Failure::new(code, closed.to_string()).remedy(remedy)
}

/// Why something was not sent.
#[must_use]
pub fn send_failure(error: &SendError) -> Failure {
    match error {
        SendError::Closed(closed) => closed_failure(closed),
        SendError::PayloadSize | SendError::Rejected(RejectReason::PayloadSize) => {
            Failure::new(Code::SendRejected, "the message is larger than 64 KiB")
                .remedy("put larger content elsewhere and send a reference to it")
        }
        SendError::Full => Failure::new(Code::NoAnswer, "too many messages wait for their answer")
            .remedy("try again when the cluster answers"),
        SendError::Rejected(reason) => {
            Failure::new(Code::SendRejected, rejection(*reason)).remedy("change it and send again")
        }
    }
}

fn rejection(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::PayloadSize => "the message is larger than 64 KiB",
        RejectReason::Ttl => "the time to live is longer than the cluster keeps anything",
        RejectReason::Address => "this cannot be sent to this address",
        RejectReason::Members => {
            "the members are none, too many (512 is the limit), or somebody is named twice"
        }
        RejectReason::NotAllowed => "a client may not do this",
    }
}

/// Why a change did not happen.
#[must_use]
pub fn change_failure(error: &ChangeError) -> Failure {
    match error {
        ChangeError::Send(error) => send_failure(error),
        ChangeError::Refused(verdict) => Failure::new(Code::ChangeRefused, verdict_text(*verdict))
            .remedy("`posthorn group show` shows members and roles"),
    }
}

/// What the cluster decided, as a sentence.
#[must_use]
pub fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "it happened",
        Verdict::NoSuchGroup => "there is no such group",
        Verdict::NotAMember => "you are not a member of the group",
        Verdict::NotAnAdmin => "only an admin of the group may do this",
        Verdict::GroupExists => "the group exists already",
        Verdict::GroupFull => "the group would have more than 512 members",
        Verdict::AlreadyAMember => "somebody to be added is a member already",
        Verdict::LastAdmin => "the last admin cannot go while others are in the group",
        Verdict::NoSuchDevice => "there is no such device",
        Verdict::TooManyDevices => "there are too many devices already",
        Verdict::DeviceRevoked => "the device was revoked",
        Verdict::NoSuchMember => "somebody to be removed or given a role is not a member",
    }
}

/// Why a question has no answer.
#[must_use]
pub fn request_failure(error: &RequestError) -> Failure {
    match error {
        RequestError::NotFound => Failure::new(Code::GroupUnknown, error.to_string())
            .remedy("ask an admin of the group to add you, or create it"),
        RequestError::Unavailable | RequestError::TooMany => {
            Failure::new(Code::NoAnswer, error.to_string()).remedy("try again")
        }
        RequestError::Closed(closed) => closed_failure(closed),
    }
}

/// What is waited for, or that it did not come in time.
///
/// # Errors
/// When it did not.
///
/// # Cancel safety
/// As the future's.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    tokio::time::timeout(limit, future).await.map_err(|_| {
        Failure::new(Code::NoAnswer, format!("{what} was not answered within {limit:?}"))
            .remedy("look at /readyz of the cluster, and at what waits: `posthorn recv`")
    })
}
