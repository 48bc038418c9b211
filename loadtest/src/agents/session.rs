//! One run on an agent: orders come, reports go.

mod stage;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use link::{Receiver, Sender};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::stage::{PAYLOADS_FILE, Stage};
use super::{
    SILENCE_MAX,
    frame::{self, Frames},
    message::{Answer, Order, Ordered, Report},
    offset::Timepiece,
    portion,
};
use crate::{
    cluster::{Given, Usage},
    generator::{Play as _, Standing},
    measure::Portion,
};

/// Reports that wait to be written; who reports more waits.
const REPORTS_MAX: usize = 64;
/// What happened is told so often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// When the coordinator is gone, devices are disconnected in order within this, or cut off.
const END_WITHIN: Duration = Duration::from_secs(20);

/// One run on an agent.
pub(super) struct Session {
    orders: Frames<Ordered>,
    timepiece: Timepiece,
    /// What only this run needs; removed with it.
    folder: PathBuf,
    /// The agent is to end.
    stop: CancellationToken,
    /// The run is over, for whatever reason.
    over: CancellationToken,
    stage: Arc<OnceLock<Stage>>,
    meter: Meter,
    tokens: Arc<Given>,
    /// What was begun and may be ended by an order.
    begun: HashMap<u64, CancellationToken>,
    tasks: JoinSet<()>,
}

/// What this process uses for one run.
#[derive(Clone, Copy)]
struct Meter {
    /// Processor time of earlier runs.
    before_s: f64,
}

impl Meter {
    fn start() -> Self {
        Self { before_s: Usage::own().map_or(0.0, |usage| usage.cpu_s) }
    }

    fn usage(self) -> Option<Usage> {
        Usage::own().map(|usage| Usage { cpu_s: usage.cpu_s - self.before_s, ..usage })
    }
}

/// Where reports go.
pub(super) struct Reports(mpsc::Sender<BytesMut>);

impl Reports {
    /// Reports something; waits while many reports wait.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub(super) async fn say(&self, report: &Report, bytes: &[u8]) -> anyhow::Result<()> {
        let frame = frame::frame(report, bytes)?;
        self.0.send(frame).await.map_err(|_| anyhow!("the coordinator is gone"))
    }

    /// Reports something, or not when many reports wait.
    pub(super) fn mention(&self, report: &Report) {
        if let Ok(frame) = frame::frame(report, &[]) {
            // The next one says the same.
            let _ = self.0.try_send(frame);
        }
    }

    async fn answer(&self, id: u64, answer: anyhow::Result<Answer>) {
        let answer = answer.map_err(|problem| format!("{problem:#}"));
        // Who is gone needs no answer.
        let _ = self.say(&Report::Answer { id, answer }, &[]).await;
    }
}

impl Session {
    pub(super) fn new(
        orders: Frames<Ordered>,
        timepiece: Timepiece,
        folder: PathBuf,
        stop: CancellationToken,
    ) -> Self {
        Self {
            orders,
            timepiece,
            folder: folder.join(format!("run-{:x}", timepiece.now_ns())),
            over: stop.child_token(),
            stop,
            stage: Arc::default(),
            meter: Meter::start(),
            tokens: Arc::default(),
            begun: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Does what is ordered until the run is over.
    ///
    /// # Errors
    /// Why it ended before that.
    ///
    /// # Cancel safety
    /// A dropped call cuts every device off.
    pub(super) async fn serve(
        mut self,
        sender: Sender,
        clock: (Sender, Receiver),
    ) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("make {}", self.folder.display()))?;
        let (reports, waiting) = mpsc::channel(REPORTS_MAX);
        let happened = Arc::new(Happened {
            reports: Reports(reports),
            stage: Arc::clone(&self.stage),
            meter: self.meter,
            turn: Mutex::new(()),
        });
        let mut service = JoinSet::new();
        service.spawn(write_reports(waiting, sender));
        service.spawn(tell_seconds(Arc::clone(&happened)));
        let (timepiece, over) = (self.timepiece, self.over.clone());
        service.spawn(async move {
            tell_time(clock, timepiece).await;
            over.cancel();
        });
        let ended = self.obey(&happened).await;
        self.end().await;
        drop(happened);
        service.shutdown().await;
        ended
    }

    async fn obey(&mut self, happened: &Arc<Happened>) -> anyhow::Result<()> {
        let reports = &happened.reports;
        loop {
            while self.tasks.try_join_next().is_some() {}
            let next = tokio::select! {
                biased;
                () = self.over.cancelled() => bail!(self.why_over()),
                next = self.orders.next() => next?,
            };
            let Some((Ordered { id, order }, bytes)) = next else {
                bail!("the coordinator went away");
            };
            if matches!(order, Order::Bye) {
                reports.answer(id, Ok(Answer::Done)).await;
                return Ok(());
            }
            if let Some(answer) = self.take(id, order, &bytes, happened).await.transpose() {
                reports.answer(id, answer).await;
            }
        }
    }

    fn why_over(&self) -> String {
        if self.stop.is_cancelled() {
            "the agent was ended".to_owned()
        } else {
            format!("nothing was heard of the coordinator for {} s", SILENCE_MAX.as_secs())
        }
    }

    /// Takes an order; its answer, unless that comes later.
    async fn take(
        &mut self,
        id: u64,
        order: Order,
        bytes: &Bytes,
        happened: &Arc<Happened>,
    ) -> anyhow::Result<Option<Answer>> {
        match order {
            Order::Hello { .. } | Order::Bye => bail!("this is not the time for it"),
            Order::Payloads => {
                let path = self.folder.join(PAYLOADS_FILE);
                let file = File::options().create(true).append(true).open(path);
                file?.write_all(bytes)?;
            }
            Order::Tokens(tokens) => self.tokens.take(tokens),
            Order::Prepare(plan) => {
                let tokens = Arc::clone(&self.tokens);
                let stage = Stage::build(*plan, &self.folder, self.timepiece, tokens).await?;
                ensure!(self.stage.set(stage).is_ok(), "it is prepared already");
            }
            Order::Span { began_ns } => {
                let stage = self.stage()?;
                let span = stage.generator.begin_span(began_ns);
                stage.spans().push((span, began_ns));
            }
            Order::Fault => self.stage()?.generator.fault(),
            Order::Churn { phase } => {
                let until = self.begin(id);
                self.stage()?.generator.churn(phase, until);
            }
            Order::Cease { id } => {
                if let Some(token) = self.begun.remove(&id) {
                    token.cancel();
                }
            }
            Order::Stand => return Ok(Some(self.stage()?.stands(self.meter.usage()))),
            Order::Connect
            | Order::MakeGroups
            | Order::Assemble
            | Order::Load { .. }
            | Order::Act { .. }
            | Order::SlowDown { .. }
            | Order::Spans { .. }
            | Order::BringBack { .. }
            | Order::Close
            | Order::SendLedger { .. } => {
                self.stage()?;
                let (happened, until) = (Arc::clone(happened), self.begin(id));
                self.tasks.spawn(async move {
                    let Some(stage) = happened.stage.get() else { return };
                    let done = stage.perform(order, &happened.reports, &until).await;
                    // Who knows that it is done may want to know all that happened until then.
                    let _ = happened.tell().await;
                    happened.reports.answer(id, done).await;
                });
                return Ok(None);
            }
        }
        Ok(Some(Answer::Done))
    }

    fn stage(&self) -> anyhow::Result<&Stage> {
        self.stage.get().context("it is not prepared")
    }

    fn begin(&mut self, id: u64) -> CancellationToken {
        let until = self.over.child_token();
        self.begun.retain(|_, token| !token.is_cancelled());
        self.begun.insert(id, until.clone());
        until
    }

    /// Ends every device, and removes what only this run needed.
    async fn end(&mut self) {
        self.begun.values().for_each(CancellationToken::cancel);
        let stage = self.stage.get();
        let ending = async {
            if let Some(stage) = stage {
                stage.end().await;
            }
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(END_WITHIN, ending).await.is_err() {
            tracing::warn!("devices did not end in order and are cut off");
        }
        self.tasks.shutdown().await;
        if let Err(problem) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%problem, "the folder of the run is left");
        }
    }
}

async fn write_reports(mut waiting: mpsc::Receiver<BytesMut>, mut sender: Sender) {
    while let Some(report) = waiting.recv().await {
        // A coordinator that is gone is noticed by who waits for its orders.
        if frame::write(&mut sender, report).await.is_err() {
            return;
        }
    }
    let _ = timeout(SILENCE_MAX, sender.finished()).await;
}

/// What happened since it was last told.
struct Happened {
    reports: Reports,
    stage: Arc<OnceLock<Stage>>,
    meter: Meter,
    /// What was taken first is told first.
    turn: Mutex<()>,
}

impl Happened {
    /// Tells it; before there is anything, that the agent lives.
    ///
    /// # Errors
    /// When nobody listens any more.
    async fn tell(&self) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let generator = self.stage.get().map(|stage| &stage.generator);
        let portion = generator.map_or_else(Portion::default, |it| it.take_interval());
        let standing = generator.map_or_else(Standing::default, |it| it.standing());
        let bytes = portion::encode(&portion);
        let usage = self.meter.usage();
        self.reports.say(&Report::Second { tally: portion.tally, standing, usage }, &bytes).await
    }
}

async fn tell_seconds(happened: Arc<Happened>) {
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if happened.tell().await.is_err() {
            return;
        }
    }
}

/// Answers what time it is until nobody asks any more.
async fn tell_time((mut sender, mut receiver): (Sender, Receiver), timepiece: Timepiece) {
    let mut question = BytesMut::new();
    while let Ok(Ok(true)) = timeout(SILENCE_MAX, receiver.read(&mut question)).await {
        while question.len() >= 8 {
            let _ = question.split_to(8);
            let mut answer = BytesMut::with_capacity(8);
            answer.put_i64_le(timepiece.now_ns());
            if frame::write(&mut sender, answer).await.is_err() {
                return;
            }
        }
    }
}
