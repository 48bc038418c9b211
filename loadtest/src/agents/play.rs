//! A crew plays as one generator does.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    crew::Crew,
    message::{Answer, Order},
    seat::{Awaited, Seat},
};
use crate::{
    cluster::Usage,
    driver::BoxFuture,
    generator::{
        Drained, LOOK_EVERY, Play, QUIET_NS, SETTLED_NS, Standing, Stretch,
        play::{TellCount, TellStanding},
    },
    measure::{Portion, Span},
    scenario::{PhaseRate, What},
};

/// From the decision to begin to the first intended time: every agent has heard of it by then.
const LEAD_NS: u64 = 500_000_000;

/// How all agents stand.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    standing: Standing,
    /// How long nothing was delivered.
    quiet_ns: u64,
}

impl Crew {
    /// Orders the same of all who are there, and waits until all have done it.
    async fn all(&self, order: impl Fn() -> Order) -> anyhow::Result<Vec<Answer>> {
        let there = self.seats.iter().filter(|seat| seat.is_there());
        let asked = there.map(|seat| async {
            match seat.ask(order(), &[]).await {
                Err(_) if !seat.is_there() => Ok(None),
                answer => answer.map(Some),
            }
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    /// Orders the same of all of the whole crew: before the load, nobody may be missing.
    async fn whole(&self, order: impl Fn() -> Order) -> anyhow::Result<()> {
        try_join_all(self.seats.iter().map(|seat| seat.ask(order(), &[]))).await?;
        Ok(())
    }

    /// Begins the same at all who are there.
    fn begin(&self, order: impl Fn() -> Order) -> Vec<(Arc<Seat>, u64, Awaited)> {
        let there = self.seats.iter().filter(|seat| seat.is_there());
        there
            .map(|seat| {
                let (id, answer) = seat.tell(order());
                (Arc::clone(seat), id, answer)
            })
            .collect()
    }

    /// Ends at `until` what was begun.
    fn cease(&self, begun: Vec<(Arc<Seat>, u64, Awaited)>, until: CancellationToken) {
        self.tasks().spawn(async move {
            until.cancelled().await;
            for (seat, id, _) in begun {
                drop(seat.tell(Order::Cease { id }));
            }
        });
    }

    /// How all stand now; of a crew that is not whole, without what is due to who is lost.
    async fn sum(&self) -> Sum {
        let mut sum = Sum { quiet_ns: u64::MAX, ..Sum::default() };
        for answer in self.all(|| Order::Stand).await.unwrap_or_default() {
            if let Answer::Stands { standing, quiet_ns, .. } = answer {
                sum.standing += standing;
                sum.quiet_ns = sum.quiet_ns.min(quiet_ns);
            }
        }
        if !self.all_there() {
            sum.standing.due = sum.standing.due.min(sum.standing.delivered);
        }
        sum
    }

    /// Looks until it is so, at most so long.
    async fn until(
        &self,
        at_most: Duration,
        tell: TellStanding<'_>,
        is: impl Fn(Sum) -> bool,
    ) -> bool {
        let looking = async {
            loop {
                let sum = self.sum().await;
                tell(sum.standing);
                if is(sum) {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(at_most, looking).await.is_ok()
    }

    async fn fetch_spans(&self, from: usize) {
        if let Err(problem) = self.all(|| Order::Spans { from }).await {
            tracing::warn!(%problem, "figures of agents are missing");
        }
    }

    fn last_span(&self) -> usize {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.len() - 1
    }
}

impl Play for Crew {
    fn lead_ns(&self) -> u64 {
        LEAD_NS
    }

    fn connect<'a>(&'a self, tell: TellCount<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let of = self.device_count();
            let connect = async {
                self.whole(|| Order::Connect).await?;
                // What the agents use is wanted as it is now.
                self.whole(|| Order::Stand).await
            };
            let mut connecting = std::pin::pin!(connect);
            loop {
                let done = self.seats.iter().map(|seat| seat.told().connecting.0).sum();
                tell(done, of);
                if let Ok(connected) = timeout(LOOK_EVERY, &mut connecting).await {
                    return connected;
                }
            }
        })
    }

    fn make_groups(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(self.whole(|| Order::MakeGroups))
    }

    fn assemble(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(self.whole(|| Order::Assemble))
    }

    fn begin_span(&self, began_ns: u64) -> Span {
        let span = {
            let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            spans.push(began_ns);
            spans.len() - 1
        };
        drop(self.begin(|| Order::Span { began_ns }));
        Span(span)
    }

    fn load<'a>(
        &'a self,
        rate: &'a PhaseRate,
        (phase, part): (u32, u32),
        began_ns: u64,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let begun = self.begin(|| Order::Load { rate: rate.clone(), phase, part, began_ns });
            let loads = begun.into_iter().map(|(seat, id, mut answer)| async move {
                let ended = tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        drop(seat.tell(Order::Cease { id }));
                        seat.wait(answer).await
                    }
                    ended = &mut answer => seat.judge(ended),
                };
                match ended {
                    Err(_) if !seat.is_there() => Ok(()),
                    ended => ended.map(drop),
                }
            });
            try_join_all(loads).await?;
            Ok(())
        })
    }

    fn churn(&self, phase: u32, until: CancellationToken) {
        self.cease(self.begin(|| Order::Churn { phase }), until);
    }

    fn slow_down(&self, phase: u32) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Who cannot is lost, which is told elsewhere.
            let _ = self.all(|| Order::SlowDown { phase }).await;
        })
    }

    fn announce(&self, phase: u32, began_ns: u64, until: &CancellationToken) {
        self.cease(self.begin(|| Order::Act { phase, began_ns }), until.clone());
    }

    fn begin_action(&self, _: (u32, u32), what: &What) -> bool {
        is_about_devices(what)
    }

    fn fault(&self) {
        drop(self.begin(|| Order::Fault));
    }

    fn settle(&self, at_most: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let settled = self
                .until(at_most, &|_| {}, |Sum { standing, quiet_ns }| {
                    let all_came = standing.delivered >= standing.due;
                    standing.waiting == 0 && (all_came || quiet_ns > SETTLED_NS)
                })
                .await;
            self.fetch_spans(self.last_span()).await;
            settled
        })
    }

    fn drain<'a>(&'a self, grace: Duration, tell: TellStanding<'a>) -> BoxFuture<'a, Drained> {
        Box::pin(async move {
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let mut back = std::pin::pin!(self.all(|| Order::BringBack { grace_ms }));
            while timeout(LOOK_EVERY, &mut back).await.is_err() {
                tell(self.standing());
            }
            let settled =
                |Sum { standing, quiet_ns }: Sum| standing.is_settled() && quiet_ns > QUIET_NS;
            self.until(grace, tell, settled).await;
            let standing = self.sum().await.standing;
            let missing = self.device_count().saturating_sub(standing.connections);
            Drained { standing, unanswered: standing.waiting, missing }
        })
    }

    fn close(&self) -> BoxFuture<'_, usize> {
        Box::pin(async {
            let answers = self.all(|| Order::Close).await.unwrap_or_default();
            self.fetch_spans(0).await;
            let unanswered = answers.iter().map(|answer| {
                if let Answer::Closed { unanswered } = answer { *unanswered } else { 0 }
            });
            unanswered.sum()
        })
    }

    fn span(&self, span: Span) -> Portion {
        let mut whole = Portion::default();
        for seat in &self.seats {
            if let Some(account) = seat.told().spans.get(&span.0) {
                whole.add(&account.portion);
            }
        }
        whole
    }

    fn returned(&self, began_ns: u64) -> (Stretch, Stretch) {
        let mut both = (Stretch::default(), Stretch::default());
        let span = {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            spans.partition_point(|began| *began <= began_ns).saturating_sub(1)
        };
        for seat in &self.seats {
            if let Some(account) = seat.told().spans.get(&span) {
                both.0.add(&account.back);
                both.1.add(&account.caught_up);
            }
        }
        both
    }

    fn take_interval(&self) -> Portion {
        let mut whole = Portion::default();
        for seat in &self.seats {
            let told = std::mem::take(&mut seat.told().interval);
            whole.add(&told);
        }
        whole
    }

    fn standing(&self) -> Standing {
        let mut sum = Standing::default();
        self.seats.iter().for_each(|seat| sum += seat.told().standing);
        sum
    }

    fn elsewhere(&self) -> Option<Usage> {
        let mut sum = Usage::default();
        for seat in &self.seats {
            let used = seat.told().usage.unwrap_or_default();
            sum.cpu_s += used.cpu_s;
            sum.rss_bytes += used.rss_bytes;
            sum.rss_max_bytes += used.rss_max_bytes;
            sum.threads += used.threads;
            sum.open_files += used.open_files;
        }
        Some(sum)
    }
}

/// Whether agents do it.
pub(super) fn is_about_devices(what: &What) -> bool {
    match what {
        What::Disconnect { .. } | What::Reconnect { .. } | What::Rebind { .. } => true,
        What::DrainProcess(_)
        | What::Kill(_)
        | What::Stop(_)
        | What::Cont(_)
        | What::Start(_)
        | What::Terminate(_)
        | What::Command(_)
        | What::Flood(_) => false,
    }
}
