//! Keeps the intended times: a thread of its own that sleeps until the next one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{arrivals::Arrivals, clock::RunClock};

use super::{mouth::Mouth, turns::Turns};

/// A pacer that waits longer than this looks whether it is to stop.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The "niceness" of the pacer; 0 is usual, -20 the least that there is.
const PRIORITY: i32 = -15;

/// What says when the next message is due.
#[derive(Debug)]
pub(super) enum Pace {
    /// Times that were fixed beforehand.
    Open(Box<Arrivals>),
    /// Whoever had an answer, at the next of its times.
    Closed(Turns),
}

/// Says what the mouth has to say when the pace says, counted from `began_ns`, and gives it back.
///
/// Not a task of the runtime, whose timers are as coarse as a millisecond: a thread that parks
/// wakes some 60 us after its time. When it is late it catches up at once and skips nothing.
///
/// # Errors
/// When there is no thread to be had, or it panicked; then there is nothing to send with any more.
///
/// # Cancel safety
/// A dropped call leaves the thread until its pace ends; cancel `stop` first.
pub(super) async fn pace(
    mut mouth: Box<Mouth>,
    pace: Pace,
    clock: RunClock,
    began_ns: u64,
    stop: &CancellationToken,
) -> anyhow::Result<Box<Mouth>> {
    let stopping = Arc::new(AtomicBool::new(false));
    let (give_back, mut given_back) = oneshot::channel();
    let seen = Arc::clone(&stopping);
    let thread = thread::Builder::new()
        .name("pacer".into())
        .spawn(move || {
            go_first();
            match pace {
                Pace::Open(arrivals) => open(&mut mouth, *arrivals, &clock, began_ns, &seen),
                Pace::Closed(turns) => closed(&mut mouth, &turns, &clock, &seen),
            }
            let _ = give_back.send(mouth);
        })
        .context("cannot start the thread that keeps the times")?;
    let mouth = tokio::select! {
        biased;
        () = stop.cancelled() => {
            stopping.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            given_back.await
        }
        mouth = &mut given_back => mouth,
    };
    let _ = thread.join();
    mouth.context("the thread that keeps the times panicked")
}

fn open(
    mouth: &mut Mouth,
    arrivals: Arrivals,
    clock: &RunClock,
    began_ns: u64,
    stopping: &AtomicBool,
) {
    for at in arrivals {
        let intended_ns = began_ns + nanoseconds(at);
        if !wait_until(clock, intended_ns, stopping) {
            break;
        }
        mouth.say_next(intended_ns, None);
    }
}

/// What is due is due when it is sent: that is what makes the loop closed.
fn closed(mouth: &mut Mouth, turns: &Turns, clock: &RunClock, stopping: &AtomicBool) {
    while let Some((turn, now_ns)) = turns.next(clock, stopping) {
        mouth.say_next(now_ns, Some(turn));
    }
}

/// Lets this thread go before others that want to run, where the system allows it: it needs little,
/// and what it is late is not the cluster's fault. On Linux a priority is the calling thread's.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        tracing::debug!(%error, "the pacer has no more priority than others");
    }
}

/// Waits until this time; false when it is to stop instead.
fn wait_until(clock: &RunClock, at_ns: u64, stopping: &AtomicBool) -> bool {
    loop {
        if stopping.load(Ordering::Relaxed) {
            return false;
        }
        let left_ns = at_ns.saturating_sub(clock.now_ns());
        if left_ns == 0 {
            return true;
        }
        thread::park_timeout(Duration::from_nanos(left_ns).min(LOOK_EVERY));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a phase lasts less than 500 years")
}
