//! One agent as the coordinator sees it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use link::{Connection, LinkError, MeshDialer, Receiver, Sender};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

use super::{
    SILENCE_MAX,
    frame::{self, Frames},
    message::{Answer, Order, Ordered, Report, VERSION},
    offset::{Exchange, Offset},
    portion,
};
use crate::{
    clock::RunClock,
    cluster::Usage,
    generator::{Standing, Stretch},
    measure::Portion,
    report::summary::Machine,
};

/// Orders that wait to be written; who orders more waits.
const ORDERS_MAX: usize = 64;
/// The clock is asked so often during a run, which also shows that the coordinator lives.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// An offset is estimated from so many exchanges, at most.
const EXCHANGES: usize = 24;
/// What `closed` says when the run is over.
const OVER: u32 = 0;

/// One agent as the coordinator sees it.
pub(super) struct Seat {
    pub(super) address: String,
    pub(super) machine: Machine,
    orders: mpsc::Sender<BytesMut>,
    next_id: AtomicU64,
    shared: Arc<Shared>,
    connection: Connection,
    _tasks: JoinSet<()>,
}

/// What is known of a span at one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) portion: Portion,
    pub(super) back: Stretch,
    pub(super) caught_up: Stretch,
}

/// What an agent has told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) interval: Portion,
    pub(super) standing: Standing,
    pub(super) usage: Option<Usage>,
    pub(super) connecting: (usize, usize),
    pub(super) spans: BTreeMap<usize, Account>,
    /// Why nothing more comes.
    pub(super) lost: Option<String>,
    /// Where its ledger is written.
    ledger: Option<Copied>,
    exchanges: Vec<Exchange>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Answer, String>>>,
}

/// A ledger that is being copied.
struct Copied {
    file: File,
    bytes: u64,
    digest: Xxh3,
}

struct Shared {
    told: Mutex<Told>,
    /// Any agent of the crew is lost.
    any_lost: CancellationToken,
    /// So many more exchanges are to follow each other at once.
    burst: AtomicU64,
}

impl Seat {
    /// Connects to an agent and makes sure that it is one and has nothing else to do.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    ///
    /// # Cancel safety
    /// A dropped call leaves the agent waiting for another coordinator.
    pub(super) async fn take(
        dialer: &MeshDialer,
        address: String,
        clock: RunClock,
        any_lost: CancellationToken,
    ) -> anyhow::Result<Self> {
        let connection = dialer.dial(&address).await.map_err(|error| explain(&address, &error))?;
        let (mut sender, receiver) = connection.open_bi().await?;
        let hello = Ordered { id: 0, order: Order::Hello { version: VERSION } };
        frame::write(&mut sender, frame::frame(&hello, &[])?).await?;
        let mut reports = Frames::<Report>::new(receiver);
        let first = timeout(SILENCE_MAX, reports.next()).await;
        let first = first.map_err(|_| anyhow!("the agent {address} does not answer"))?;
        let refused = || {
            format!(
                "the agent {address} let nobody in: are the --keys of both from the same \
                 `loadtest agent-keys new`?"
            )
        };
        let machine = match first.with_context(refused)? {
            Some((Report::Answer { answer: Ok(Answer::Welcome { machine, .. }), .. }, _)) => {
                machine
            }
            Some((Report::Answer { answer: Err(why), .. }, _)) => {
                bail!("the agent {address}: {why}")
            }
            Some(_) | None => bail!("what listens at {address} does not speak as an agent does"),
        };
        let clock_stream = connection.open_bi().await?;
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let (told, burst) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { told, any_lost, burst });
        let mut tasks = JoinSet::new();
        tasks.spawn(write_orders(waiting, sender, Arc::clone(&shared)));
        tasks.spawn(read_reports(reports, Arc::clone(&shared)));
        tasks.spawn(ask_clock(clock_stream, clock, Arc::clone(&shared)));
        let next_id = AtomicU64::new(1);
        Ok(Self { address, machine, orders, next_id, shared, connection, _tasks: tasks })
    }

    /// What it has told.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.told()
    }

    /// Whether it is still there.
    pub(super) fn is_there(&self) -> bool {
        self.told().lost.is_none()
    }

    /// Orders something, and waits until it is done.
    ///
    /// # Errors
    /// When it cannot be done, or the agent is gone.
    ///
    /// # Cancel safety
    /// A dropped call may have ordered it.
    pub(super) async fn ask(&self, order: Order, bytes: &[u8]) -> anyhow::Result<Answer> {
        let (id, answer) = self.expect();
        let frame = frame::frame(&Ordered { id, order }, bytes)?;
        let sent = self.orders.send(frame).await;
        sent.map_err(|_| self.gone())?;
        self.wait(answer).await
    }

    /// Waits for an answer.
    pub(super) async fn wait(&self, answer: Awaited) -> anyhow::Result<Answer> {
        self.judge(answer.await)
    }

    /// An answer, or why there is none.
    pub(super) fn judge(
        &self,
        answer: Result<Result<Answer, String>, oneshot::error::RecvError>,
    ) -> anyhow::Result<Answer> {
        let answer = answer.map_err(|_| self.gone())?;
        answer.map_err(|why| anyhow!("the agent {}: {why}", self.address))
    }

    /// Orders something without waiting; its number, and what comes when it is done.
    pub(super) fn tell(&self, order: Order) -> (u64, Awaited) {
        let (id, answer) = self.expect();
        match frame::frame(&Ordered { id, order }, &[]).map(|frame| self.orders.try_send(frame)) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.shared.lose("it takes no more orders".to_owned()),
            Err(problem) => self.shared.lose(problem.to_string()),
        }
        (id, answer)
    }

    /// Estimates its offset anew from exchanges that happen now.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) async fn measure(&self) -> anyhow::Result<Offset> {
        self.told().exchanges.clear();
        self.shared.burst.store(EXCHANGES as u64, Ordering::Relaxed);
        let measured = async {
            loop {
                {
                    let told = self.told();
                    if told.exchanges.len() >= EXCHANGES || told.lost.is_some() {
                        return Offset::of(&told.exchanges);
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let measured = timeout(SILENCE_MAX, measured).await.ok().flatten();
        measured.ok_or_else(|| self.gone())
    }

    /// What it sends of its ledger from now on is written here.
    pub(super) fn copy_ledger(&self, file: File) {
        self.told().ledger = Some(Copied { file, bytes: 0, digest: Xxh3::new() });
    }

    /// Whether the copy of its ledger is as long, and has the digest, that it says.
    pub(super) fn check_ledger(&self, bytes: u64, digest: u64) -> anyhow::Result<()> {
        let copied = self.told().ledger.take().context("it sent no ledger")?;
        let same = copied.bytes == bytes && copied.digest.digest() == digest;
        ensure!(same, "the ledger of the agent {} did not arrive as it is", self.address);
        copied.file.sync_all()?;
        Ok(())
    }

    /// It will not be heard of any more, and that is as it should be.
    pub(super) fn end(&self) {
        self.connection.close(OVER, "the run is over");
    }

    fn expect(&self) -> (u64, Awaited) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        let mut told = self.told();
        if told.lost.is_none() {
            told.waiting.insert(id, done);
        }
        (id, answer)
    }

    fn gone(&self) -> anyhow::Error {
        let why = self.told().lost.clone();
        anyhow!("the agent {} is gone: {}", self.address, why.unwrap_or_default())
    }
}

/// What comes when an order is done.
pub(super) type Awaited = oneshot::Receiver<Result<Answer, String>>;

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, why: String) {
        let waiting = {
            let mut told = self.told();
            told.lost.get_or_insert(why);
            mem::take(&mut told.waiting)
        };
        drop(waiting);
        self.any_lost.cancel();
    }

    fn take(&self, report: Report, mut bytes: Bytes) -> anyhow::Result<()> {
        match report {
            Report::Answer { id, answer } => {
                if let Ok(Answer::Stands { standing, usage, .. }) = &answer {
                    let mut told = self.told();
                    told.standing = *standing;
                    told.usage = *usage;
                }
                let waiting = self.told().waiting.remove(&id);
                if let Some(waiting) = waiting {
                    // Who asked may have stopped waiting.
                    let _ = waiting.send(answer);
                }
            }
            Report::Connecting { done, of } => self.told().connecting = (done, of),
            Report::Second { tally, standing, usage } => {
                let portion = portion::decode(&mut bytes, tally)?;
                let mut told = self.told();
                told.interval.add(&portion);
                told.standing = standing;
                told.usage = usage;
            }
            Report::Span { span, tally, missing } => {
                let portion = portion::decode(&mut bytes, tally)?;
                let back = portion::decode_returns(&mut bytes, missing.0)?;
                let caught_up = portion::decode_returns(&mut bytes, missing.1)?;
                self.told().spans.insert(span, Account { portion, back, caught_up });
            }
            Report::Ledger => {
                let mut told = self.told();
                let copied = told.ledger.as_mut().context("nobody asked for a ledger")?;
                copied.file.write_all(&bytes).context("the ledger cannot be written here")?;
                copied.digest.update(&bytes);
                copied.bytes += bytes.len() as u64;
            }
        }
        Ok(())
    }
}

async fn write_orders(
    mut waiting: mpsc::Receiver<BytesMut>,
    mut sender: Sender,
    shared: Arc<Shared>,
) {
    while let Some(order) = waiting.recv().await {
        if let Err(problem) = frame::write(&mut sender, order).await {
            shared.lose(problem.to_string());
            return;
        }
    }
}

async fn read_reports(mut reports: Frames<Report>, shared: Arc<Shared>) {
    let why = loop {
        let taken = match timeout(SILENCE_MAX, reports.next()).await {
            Ok(Ok(Some((report, bytes)))) => shared.take(report, bytes),
            Ok(Ok(None)) => break "it ended the run".to_owned(),
            Ok(Err(problem)) => break format!("{problem:#}"),
            Err(_) => break format!("nothing was heard of it for {} s", SILENCE_MAX.as_secs()),
        };
        if let Err(problem) = taken {
            break format!("{problem:#}");
        }
    };
    shared.lose(why);
}

/// Asks the agent's clock now and then, and often while its offset is measured.
async fn ask_clock(
    (mut sender, mut receiver): (Sender, Receiver),
    clock: RunClock,
    shared: Arc<Shared>,
) {
    loop {
        let asked = timeout(SILENCE_MAX, exchange(&mut sender, &mut receiver, clock)).await;
        // Why it is gone is better told by who reads the reports.
        let Ok(Ok(exchange)) = asked else { return };
        {
            let mut told = shared.told();
            if told.exchanges.len() >= EXCHANGES {
                told.exchanges.remove(0);
            }
            told.exchanges.push(exchange);
        }
        let burst = shared.burst.load(Ordering::Relaxed);
        shared.burst.store(burst.saturating_sub(1), Ordering::Relaxed);
        sleep(if burst > 0 { Duration::from_millis(2) } else { ASK_EVERY }).await;
    }
}

async fn exchange(
    sender: &mut Sender,
    receiver: &mut Receiver,
    clock: RunClock,
) -> anyhow::Result<Exchange> {
    let mut question = BytesMut::with_capacity(8);
    let asked_ns = clock.now_ns();
    question.put_u64_le(asked_ns);
    frame::write(sender, question).await?;
    let mut answer = BytesMut::with_capacity(8);
    while answer.len() < 8 {
        ensure!(receiver.read(&mut answer).await?, "the clock of the agent ended");
    }
    let came_ns = clock.now_ns();
    Ok(Exchange { asked_ns, shown_ns: answer.get_i64_le(), came_ns })
}

fn explain(address: &str, error: &LinkError) -> anyhow::Error {
    match error {
        LinkError::Untrusted(why) => anyhow!(
            "the agent {address} is not trusted ({why}): are the --keys of both from the same \
             `loadtest agent-keys new`?"
        ),
        LinkError::Unreachable(_)
        | LinkError::TimedOut
        | LinkError::Closed(_)
        | LinkError::StreamStopped => anyhow!(
            "the agent {address} cannot be reached ({error}): does `loadtest agent --listen` run \
             there, and is its UDP port open?"
        ),
    }
}
