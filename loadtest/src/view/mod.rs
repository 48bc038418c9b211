//! What a person sees while a run goes on: a live view on a terminal, plain lines elsewhere.

mod board;
mod live;
mod plain;
mod words;

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;

pub use board::{Board, Shown, Stage};
pub use words::{bytes, count, per_second, span};

use live::Live;
use plain::Plain;

/// The live view is drawn again so often.
const LIVE_EVERY: Duration = Duration::from_millis(250);
/// A plain line is printed so often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A few lines that are drawn again and again.
    Live,
    /// A line now and then.
    Plain,
    /// Nothing.
    Quiet,
}

impl Mode {
    /// The one for standard error, where everything but results goes.
    #[must_use]
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() { Self::Live } else { Self::Plain }
    }
}

/// Shows a [`Board`] until it is closed. Writes to standard error only.
#[derive(Debug)]
pub struct View {
    board: Arc<Board>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl View {
    /// Begins to show it. To be called within a Tokio runtime.
    #[must_use]
    pub fn open(mode: Mode, board: Arc<Board>) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (shown, stopped) = (Arc::clone(&board), stop.clone());
        match mode {
            Mode::Quiet => {}
            Mode::Live => {
                tasks.spawn(async move {
                    let mut live = Live::new();
                    repeat(LIVE_EVERY, &stopped, || live.draw(&shown)).await;
                    live.close(&shown);
                });
            }
            Mode::Plain => {
                tasks.spawn(async move {
                    let mut plain = Plain::new();
                    repeat(LIVE_EVERY, &stopped, || plain.look(&shown, PLAIN_EVERY)).await;
                    plain.close(&shown);
                });
            }
        }
        Self { board, stop, tasks }
    }

    /// What is shown.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Shows the last state once more and ends.
    ///
    /// # Cancel safety
    /// A dropped call ends it at once.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn repeat(every: Duration, stop: &CancellationToken, mut what: impl FnMut()) {
    let mut ticks = interval(every);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => what(),
        }
    }
}
