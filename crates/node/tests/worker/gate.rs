//! Engines of a process that can be stopped in the middle of something and resumed later.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ports::{
    BoxFuture, Engines, Entities, EntityId, Log, Mailbox, StoreError,
    entities::{Change, Snapshot},
    log::{AppendError, DeadLetter, Entry, ReadError, Reader, Refused},
    mailbox::{Batch, Cursor, Range, Rows},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};
use wire::{
    DeviceId, Epoch, GroupId, MessageId, Offset, Partition, Seq, Topic, UserId,
    entity::{Decision, Membership},
    record::Source,
};

/// Lets so many writes through, then the process stands still: what it had sent arrives when it is
/// resumed, in order, and so does what it sends then. Partitions are not given to it again.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    engines: Engines,
    state: watch::Sender<State>,
    late: Mutex<Late>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many writes may still pass.
    Running(usize),
    Stopped,
    Resumed,
}

/// Writes that wait for their turn, and the task that makes them one after the other.
#[derive(Default)]
struct Late {
    writes: VecDeque<BoxFuture<'static, ()>>,
    is_arriving: bool,
    tasks: JoinSet<()>,
}

struct GatedReader {
    reader: Box<dyn Reader>,
    gate: Gate,
}

impl Gate {
    pub(crate) fn new(engines: &Engines, writes: usize) -> Self {
        let state = watch::Sender::new(State::Running(writes));
        Self(Arc::new(Inner { engines: engines.clone(), state, late: Mutex::default() }))
    }

    pub(crate) fn engines(&self) -> Engines {
        let gate = Arc::new(self.clone());
        Engines {
            log: gate.clone(),
            mailbox: gate.clone(),
            entities: gate,
            ..self.0.engines.clone()
        }
    }

    /// Waits until the process stands still.
    pub(crate) async fn until_stopped(&self) {
        let mut state = self.0.state.subscribe();
        state.wait_for(|state| *state == State::Stopped).await.unwrap();
    }

    /// Partitions are not given to the process again from now on.
    pub(crate) fn resume(&self) {
        self.0.state.send_replace(State::Resumed);
    }

    /// Waits until everything that was sent so far has arrived.
    pub(crate) async fn until_arrived(&self) {
        self.write(|_| Box::pin(std::future::ready(()))).await;
    }

    /// Waits while the process stands still.
    async fn hold(&self) {
        let mut state = self.0.state.subscribe();
        state.wait_for(|state| *state != State::Stopped).await.unwrap();
    }

    fn is_resumed(&self) -> bool {
        *self.0.state.borrow() == State::Resumed
    }

    /// Makes a write, whether or not its caller waits for it.
    fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(Engines) -> BoxFuture<'static, T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        self.0.state.send_if_modified(|state| match state {
            State::Running(0) => {
                *state = State::Stopped;
                true
            }
            State::Running(left) => {
                *left -= 1;
                false
            }
            State::Stopped | State::Resumed => false,
        });
        let engines = self.0.engines.clone();
        let mut late = self.0.late.lock().unwrap();
        if matches!(*self.0.state.borrow(), State::Running(_)) {
            drop(late);
            return write(engines);
        }
        let (reply, outcome) = oneshot::channel();
        late.writes.push_back(Box::pin(async move {
            reply.send(write(engines).await).ok();
        }));
        if !std::mem::replace(&mut late.is_arriving, true) {
            let gate = self.clone();
            late.tasks.spawn(async move { gate.arrive().await });
        }
        drop(late);
        Box::pin(async move { outcome.await.expect("what was sent arrives") })
    }

    async fn arrive(&self) {
        self.hold().await;
        while let Some(write) = self.next_late() {
            write.await;
        }
    }

    fn next_late(&self) -> Option<BoxFuture<'static, ()>> {
        let mut late = self.0.late.lock().unwrap();
        let next = late.writes.pop_front();
        late.is_arriving = next.is_some();
        next
    }
}

impl Mailbox for Gate {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|engines| Box::pin(async move { engines.mailbox.append(batch).await }))
    }

    fn marks(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
        Box::pin(async move {
            self.hold().await;
            self.0.engines.mailbox.marks(partition).await
        })
    }

    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
        self.0.engines.mailbox.heads(users)
    }

    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        self.0.engines.mailbox.read(range)
    }

    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        self.0.engines.mailbox.read_back(range)
    }

    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        self.0.engines.mailbox.cursor(user, device)
    }

    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.engines.mailbox.store_cursors(cursors)
    }

    fn erase(&self, user: UserId, up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.engines.mailbox.erase(user, up_to)
    }
}

impl Entities for Gate {
    fn snapshot(&self, entity: EntityId) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(async move {
            self.hold().await;
            self.0.engines.entities.snapshot(entity).await
        })
    }

    fn decided_at(
        &self,
        entity: EntityId,
        position: Seq,
    ) -> BoxFuture<'_, Result<Option<Decision>, StoreError>> {
        Box::pin(async move {
            self.hold().await;
            self.0.engines.entities.decided_at(entity, position).await
        })
    }

    fn decided_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<(Seq, Decision)>, StoreError>> {
        Box::pin(async move {
            self.hold().await;
            self.0.engines.entities.decided_about(entity, message).await
        })
    }

    fn decide(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(|engines| Box::pin(async move { engines.entities.decide(change).await }))
    }

    fn memberships(
        &self,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Membership)>, StoreError>> {
        Box::pin(async move {
            self.hold().await;
            self.0.engines.entities.memberships(group).await
        })
    }
}

type Taken = Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused>;

impl Log for Gate {
    fn partition_count(&self, topic: Topic) -> u16 {
        self.0.engines.log.partition_count(topic)
    }

    fn epoch(&self) -> Epoch {
        self.0.engines.log.epoch()
    }

    fn try_append(&self, topic: Topic, records: Vec<(Partition, Bytes)>) -> Taken {
        self.try_append_owed(topic, records)
    }

    fn try_append_owed(&self, topic: Topic, records: Vec<(Partition, Bytes)>) -> Taken {
        Ok(self.write(move |engines| {
            let append = engines.log.try_append_owed(topic, records);
            Box::pin(
                async move { append.map_err(|refused| AppendError(refused.to_string()))?.await },
            )
        }))
    }

    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move {
            self.hold().await;
            if self.is_resumed() {
                std::future::pending::<()>().await;
            }
            let reader = self.0.engines.log.open(topic, partition).await?;
            Ok(Box::new(GatedReader { reader, gate: self.clone() }) as Box<dyn Reader>)
        })
    }

    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        self.0.engines.log.open_at(topic, partition, from)
    }

    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        self.0.engines.log.append_dead_letter(letter)
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.0.engines.log.flush()
    }
}

impl Reader for GatedReader {
    fn next_batch(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            self.gate.hold().await;
            self.reader.next_batch(records_max, bytes_max).await
        })
    }

    fn first_unfinished(&self) -> Offset {
        self.reader.first_unfinished()
    }

    fn commit(&mut self, position: Seq) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            self.gate.hold().await;
            self.reader.commit(position).await
        })
    }
}
