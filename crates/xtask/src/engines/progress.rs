//! What a person sees while engines start, and the waiting itself.

use std::time::{Duration, Instant};

/// Time since something began.
#[derive(Clone, Copy)]
pub(crate) struct Watch(Instant);

impl Watch {
    /// It begins now.
    pub(crate) fn start() -> Self {
        Self(crate::ci::now())
    }

    /// How long ago it began.
    pub(crate) fn elapsed(&self) -> Duration {
        crate::ci::now().duration_since(self.0)
    }

    /// The same, for people.
    pub(crate) fn seconds(&self) -> String {
        format!("{:.1} s", self.elapsed().as_secs_f64())
    }
}

/// Lines with the time since the command began.
#[derive(Clone, Copy)]
pub(crate) struct Progress(Watch);

impl Progress {
    /// The command begins now.
    pub(crate) fn start() -> Self {
        Self(Watch::start())
    }

    /// Says something about one engine.
    pub(crate) fn say(&self, who: &str, what: &str) {
        println!("{:>8}  {who:<12} {what}", self.seconds());
    }

    /// Time since the command began, for people.
    pub(crate) fn seconds(&self) -> String {
        self.0.seconds()
    }
}

/// A moment between two looks at something that does not tell when it changes.
#[expect(clippy::disallowed_methods, reason = "another program does not tell when it is ready")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Looks until it is so; false when it is not within that time.
pub(crate) fn until(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let watch = Watch::start();
    while !is_so() {
        if watch.elapsed() > within {
            return false;
        }
        pause();
    }
    true
}
