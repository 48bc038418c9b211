//! From a first frame to a device that may go on: token, signature, registry, place in the mailbox.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    rand,
    signature::{ED25519, UnparsedPublicKey},
};
use ports::{
    EntityId,
    mailbox::{Cursor, Range},
};
use session::{
    close::CloseCode,
    edge::{Admitted, EdgeSession},
};
use wire::{
    Counter, DeviceId, MessageId, RunId, SendId, Seq, UserId,
    auth::{self, DEVICE_KEY_LEN, EXPORTER_LEN, Signed},
    client_frame::{Hello, Proof},
    entity::{Device, Devices},
    item::{DeviceChange, Verdict},
    limits::{DELIVERY_WINDOW, DEVICES_MAX, SEND_WINDOW, TOKEN_LEEWAY},
    server_frame::Welcome,
    version::PROTOCOL,
};

use crate::{
    catchup::{attempt, head},
    edge::Shared,
    routes::Handle,
    token::{Identity, TokenError},
};

/// A registration that is not decided after this is given up; the client comes again.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);
/// First wait for the decision, doubled up to [`POLL_MAX`].
const POLL_MIN: Duration = Duration::from_millis(4);
const POLL_MAX: Duration = Duration::from_millis(200);

/// A connection's place in the table of routes, given up when dropped.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    pub(crate) handle: Arc<Handle>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.routes.detach(&self.handle);
        self.shared.presence.detach(self.handle.route(self.shared.edge_id));
    }
}

/// A device that may go on.
pub(crate) struct Admission {
    pub(crate) registration: Registration,
    pub(crate) admitted: Admitted,
    pub(crate) device_key: [u8; DEVICE_KEY_LEN],
    pub(crate) delivery: link::Sender,
}

/// Where a device's delivery begins.
struct Place {
    resume_after: Seq,
    truncated: Option<Seq>,
    caught_up_ms: u64,
}

/// Checks a `Hello`; every refusal is the code the connection is closed with.
pub(crate) async fn admit(
    shared: Arc<Shared>,
    connection: link::Connection,
    hello: Hello,
) -> Result<Admission, CloseCode> {
    // The session has seen that it is among those the client offers.
    let version = PROTOCOL;
    let exporter = connection.export_keying_material();
    let device = auth::device_id(&hello.device_key);
    let identity =
        check_proof(&shared, version, &exporter, &hello.device_key, &hello.proof).await?;
    let user = identity.user;

    // The table first: a revocation from now on finds this connection, one before now is in the
    // registry.
    let handle = shared.routes.attach(user, device, (shared.wall_clock)());
    let registration = Registration { shared: shared.clone(), handle };
    let (devices, registered) = find_or_register(&shared, user, device, &hello).await?;
    let found = devices.get(device).ok_or(CloseCode::Unavailable)?;
    if found.device_key != hello.device_key {
        return Err(CloseCode::Unauthenticated);
    }
    if found.revoked.is_some() {
        return Err(CloseCode::Revoked);
    }

    // The route before the head: what is written after the head was read is pushed here.
    shared.presence.attach(registration.handle.route(shared.edge_id)).await;
    let place = find_place(&shared, user, found, &devices, hello.resume_after).await?;
    registration.handle.set_cursor(place.resume_after, place.caught_up_ms);
    let delivery = connection.open_uni().await.map_err(|_| CloseCode::Unavailable)?;
    connection.set_authenticated();
    shared.metrics.admitted.inc();

    let welcome = Welcome {
        version,
        user,
        device,
        resume_after: place.resume_after,
        now_ms: (shared.wall_clock)(),
        send_window: SEND_WINDOW,
        delivery_window: DELIVERY_WINDOW,
        token_expires_ms: identity.expires_ms,
        registered,
    };
    let token_expires = session_time(&shared, identity);
    let admitted = Admitted { welcome, token_expires, truncated: place.truncated };
    Ok(Admission { registration, admitted, device_key: hello.device_key, delivery })
}

/// Checks a fresh token of a connected device.
pub(crate) async fn renew(
    shared: Arc<Shared>,
    exporter: [u8; EXPORTER_LEN],
    user: UserId,
    device_key: [u8; DEVICE_KEY_LEN],
    proof: Proof,
) -> Result<Identity, CloseCode> {
    let identity = check_proof(&shared, PROTOCOL, &exporter, &device_key, &proof).await?;
    if identity.user == user { Ok(identity) } else { Err(CloseCode::Unauthenticated) }
}

/// The session time at which a connection with this token ends, leeway included.
pub(crate) fn session_time(shared: &Shared, identity: Identity) -> Duration {
    let left_ms = identity.expires_ms.saturating_sub((shared.wall_clock)());
    // A token that ended within the leeway has only the rest of it.
    let over_ms = (shared.wall_clock)().saturating_sub(identity.expires_ms);
    let leeway = TOKEN_LEEWAY.saturating_sub(Duration::from_millis(over_ms));
    shared.now() + Duration::from_millis(left_ms) + leeway
}

async fn check_proof(
    shared: &Shared,
    version: u32,
    exporter: &[u8; EXPORTER_LEN],
    device_key: &[u8; DEVICE_KEY_LEN],
    proof: &Proof,
) -> Result<Identity, CloseCode> {
    let identity = shared.verifier.verify(&proof.token).await.map_err(|error| match error {
        TokenError::Invalid(reason) => {
            tracing::debug!(reason, "a token was refused");
            CloseCode::Unauthenticated
        }
        TokenError::Unavailable => CloseCode::Unavailable,
    })?;
    let device = auth::device_id(device_key);
    let signed = Signed { version, exporter, token: &proof.token, device, nonce: &proof.nonce };
    UnparsedPublicKey::new(&ED25519, device_key)
        .verify(&signed.to_bytes(), &proof.signature)
        .map_err(|_| CloseCode::Unauthenticated)?;
    Ok(identity)
}

/// The user's devices, this one among them; and whether it was registered just now.
async fn find_or_register(
    shared: &Shared,
    user: UserId,
    device: DeviceId,
    hello: &Hello,
) -> Result<(Devices, bool), CloseCode> {
    let devices = read_devices(shared, user).await?;
    if devices.get(device).is_some() {
        return Ok((devices, false));
    }
    // The log decides; but a full list is no reason to write to it with every attempt.
    if devices.active().count() >= DEVICES_MAX {
        return Err(CloseCode::TooManyDevices);
    }
    let deciding = register(shared, user, device, hello);
    let verdict = tokio::time::timeout(REGISTER_WITHIN, deciding).await;
    match verdict.map_err(|_| CloseCode::Unavailable)?? {
        Verdict::Done => {}
        Verdict::TooManyDevices => return Err(CloseCode::TooManyDevices),
        Verdict::DeviceRevoked => return Err(CloseCode::Revoked),
        Verdict::NoSuchGroup
        | Verdict::NotAMember
        | Verdict::NotAnAdmin
        | Verdict::GroupExists
        | Verdict::GroupFull
        | Verdict::AlreadyAMember
        | Verdict::LastAdmin
        | Verdict::NoSuchDevice
        | Verdict::NoSuchMember => return Err(CloseCode::Unavailable),
    }
    shared.metrics.registered.inc();
    Ok((read_devices(shared, user).await?, true))
}

/// Asks the log for a registration and waits until the mail worker has decided.
async fn register(
    shared: &Shared,
    user: UserId,
    device: DeviceId,
    hello: &Hello,
) -> Result<Verdict, CloseCode> {
    let send = SendId { run: RunId::new(random_u64()), counter: Counter::new(1) };
    let id = MessageId { user, device, send };
    let agent = hello.agent.clone();
    let change = DeviceChange::Register { device_key: hello.device_key, agent };
    let append = shared.publisher.try_register(id, change).map_err(|_| CloseCode::Unavailable)?;
    // An outcome the log does not know may still be a registration: the decision tells.
    if let Err(error) = append.await {
        tracing::debug!(%error, "a registration may not have been appended");
    }
    let mut wait = POLL_MIN;
    loop {
        let decided = shared.engines.entities.decided_about(EntityId::User(user), id).await;
        if let Ok(Some((_, decision))) = decided {
            return Ok(decision.verdict);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(POLL_MAX);
    }
}

async fn read_devices(shared: &Shared, user: UserId) -> Result<Devices, CloseCode> {
    let entities = &shared.engines.entities;
    let found = attempt(|| entities.snapshot(EntityId::User(user))).await.map_err(|error| {
        tracing::warn!(%error, "the registry could not be read; a connection is refused");
        CloseCode::Unavailable
    })?;
    let Some(snapshot) = found else { return Ok(Devices::default()) };
    Devices::decode(snapshot.state).map_err(|error| {
        tracing::error!(%error, "a list of devices in the store cannot be read");
        CloseCode::Unavailable
    })
}

/// Where delivery begins: the client's own cursor decides, then the stored one, then the time the
/// device was registered. A user's first device starts at the beginning.
async fn find_place(
    shared: &Shared,
    user: UserId,
    device: &Device,
    devices: &Devices,
    resume_after: Option<Seq>,
) -> Result<Place, CloseCode> {
    let mailbox = &*shared.engines.mailbox;
    let id = device.id();
    let read = attempt(async || {
        let head = head(mailbox, user).await?;
        Ok((head, mailbox.cursor(user, id).await?))
    });
    let (head, stored): (Seq, Option<Cursor>) = read.await.map_err(|error| {
        tracing::warn!(%error, "a mailbox could not be read; a connection is refused");
        CloseCode::Unavailable
    })?;
    let is_first = devices.0.first().is_some_and(|first| first.id() == id);
    let start = if is_first { Seq::ZERO } else { device.registered };
    let resume_after = resume_after.or(stored.map(|cursor| cursor.seq)).unwrap_or(start);
    // A cursor above the head is of another cluster or of one that lost its data.
    let resume_after = resume_after.min(head.max(start));

    let caught_up_ms = stored.map_or(0, |cursor| cursor.caught_up_ms).max(device.registered_ms);
    let away_ms = (shared.wall_clock)().saturating_sub(caught_up_ms);
    let is_truncated = away_ms > shared.config.retention_ms && head > resume_after;
    let mut truncated = None;
    if is_truncated {
        let range = Range { user, after: resume_after, up_to: head, rows_max: 1, bytes_max: 1 };
        let kept = attempt(|| mailbox.read(range)).await.map_err(|_| CloseCode::Unavailable)?;
        truncated = Some(kept.rows.first().map_or(head, |oldest| oldest.seq));
    }
    Ok(Place { resume_after, truncated, caught_up_ms })
}

/// A number nobody can guess.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A session whose time to authenticate begins now.
pub(crate) fn new_session(shared: &Shared) -> EdgeSession {
    EdgeSession::new(shared.now())
}
