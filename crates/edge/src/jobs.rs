//! What a connection has under way: sends the log has, and questions to stores.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use ports::{EntityId, StoreError, log::AppendError};
use session::close::CloseCode;
use wire::{
    SendId, Seq, UserId,
    auth::{DEVICE_KEY_LEN, EXPORTER_LEN},
    client_frame::{Hello, Proof, Read},
    entity::{Devices, Query, Roster},
    server_frame::{Answer, Page, QueryError},
};

use crate::{
    admission::{self, Admission},
    catchup::{self, CaughtUp},
    edge::Shared,
    publish::{Append, Unsized},
    token::Identity,
};

/// What the session asked for and is under way.
pub(crate) type Job = BoxFuture<'static, Done>;

/// What came of it.
pub(crate) enum Done {
    Admission(Result<Admission, CloseCode>),
    Renewal(Result<Identity, CloseCode>),
    Rows(Result<CaughtUp, StoreError>),
    Page(Page),
    Answer(u32, Answer),
    Size(Unsized, Option<u32>),
}

/// A send the log has and has not answered.
pub(crate) struct InFlight {
    pub(crate) id: SendId,
    pub(crate) began: Duration,
    pub(crate) append: Append,
}

impl Future for InFlight {
    type Output = (SendId, Duration, Result<Vec<Seq>, AppendError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (id, began) = (self.id, self.began);
        self.append.as_mut().poll(context).map(|outcome| (id, began, outcome))
    }
}

pub(crate) fn admit(shared: &Arc<Shared>, connection: &link::Connection, hello: Hello) -> Job {
    admission::admit(shared.clone(), connection.clone(), hello).map(Done::Admission).boxed()
}

pub(crate) fn renew(
    shared: &Arc<Shared>,
    exporter: [u8; EXPORTER_LEN],
    user: UserId,
    device_key: [u8; DEVICE_KEY_LEN],
    proof: Proof,
) -> Job {
    let renewal = admission::renew(shared.clone(), exporter, user, device_key, proof);
    renewal.map(Done::Renewal).boxed()
}

pub(crate) fn read(
    shared: &Arc<Shared>,
    user: UserId,
    after: Seq,
    rows_max: usize,
    bytes_max: usize,
) -> Job {
    let shared = shared.clone();
    let read = async move {
        let mailbox = &*shared.engines.mailbox;
        catchup::read(mailbox, user, after, rows_max, bytes_max).await
    };
    read.map(Done::Rows).boxed()
}

pub(crate) fn page(shared: &Arc<Shared>, user: UserId, read: Read) -> Job {
    let shared = shared.clone();
    let page = async move { catchup::page(&*shared.engines.mailbox, user, read).await };
    page.map(Done::Page).boxed()
}

pub(crate) fn answer(shared: &Arc<Shared>, user: UserId, request: u32, query: Query) -> Job {
    let answer = find_answer(shared.clone(), user, query);
    answer.map(move |answer| Done::Answer(request, answer)).boxed()
}

pub(crate) fn size(shared: &Arc<Shared>, charged: Unsized) -> Job {
    let size = group_size(shared.clone(), charged);
    size.map(move |size| Done::Size(charged, size)).boxed()
}

async fn find_answer(shared: Arc<Shared>, user: UserId, query: Query) -> Answer {
    let entity = match query {
        Query::Devices => EntityId::User(user),
        Query::Group(group) => EntityId::Group(group),
    };
    let found = catchup::attempt(|| shared.engines.entities.snapshot(entity)).await;
    let state = match found {
        Ok(snapshot) => snapshot.map(|snapshot| snapshot.state),
        Err(error) => {
            tracing::warn!(%error, "a query could not be answered");
            return Answer::Error(QueryError::Unavailable);
        }
    };
    match (query, state) {
        (Query::Devices, None) => Answer::Devices(Devices::default()),
        (Query::Devices, Some(state)) => {
            Devices::decode(state).map_or(Answer::Error(QueryError::Unavailable), Answer::Devices)
        }
        (Query::Group(_), None) => Answer::Error(QueryError::NotFound),
        (Query::Group(_), Some(state)) => match Roster::decode(state) {
            Ok(roster) if roster.0.iter().any(|member| member.user == user) => {
                Answer::Group(roster)
            }
            Ok(_) => Answer::Error(QueryError::NotFound),
            Err(_) => Answer::Error(QueryError::Unavailable),
        },
    }
}

/// The size of a group, remembered for all connections.
async fn group_size(shared: Arc<Shared>, charged: Unsized) -> Option<u32> {
    let entity = EntityId::Group(charged.group);
    let snapshot = catchup::attempt(|| shared.engines.entities.snapshot(entity)).await.ok()?;
    let roster = match snapshot {
        Some(snapshot) => Roster::decode(snapshot.state).ok()?,
        None => Roster::default(),
    };
    let size = u32::try_from(roster.0.len()).unwrap_or(u32::MAX);
    shared.publisher.sizes.put(charged.group, size);
    Some(size)
}
