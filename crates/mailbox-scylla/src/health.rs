//! Whether requests succeed, looked at from outside.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Requests that fail for longer than this are trouble.
const FAILING_FOR: Duration = Duration::from_secs(5);

/// Without a failure for this long, what failed before says nothing any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// What the last requests met.
#[derive(Default)]
pub(crate) struct Health {
    /// Some failed since the last one succeeded; looked at without the lock.
    failing: AtomicBool,
    spell: Mutex<Option<Spell>>,
}

struct Spell {
    began: Instant,
    last: Instant,
    reason: String,
}

impl Health {
    pub(crate) fn succeeded(&self) {
        if self.failing.load(Relaxed) {
            self.failing.store(false, Relaxed);
            *self.spell.lock().expect("nobody panics with this lock") = None;
        }
    }

    pub(crate) fn failed(&self, reason: &str) {
        let now = Instant::now();
        let mut spell = self.spell.lock().expect("nobody panics with this lock");
        let began = spell.as_ref().filter(|_| self.failing.load(Relaxed)).map_or(now, |s| s.began);
        *spell = Some(Spell { began, last: now, reason: reason.to_owned() });
        self.failing.store(true, Relaxed);
    }

    /// Why requests fail, when they do for longer than [`FAILING_FOR`].
    pub(crate) fn trouble(&self) -> Option<String> {
        let spell = self.spell.lock().expect("nobody panics with this lock");
        let spell = spell.as_ref()?;
        let lasts = spell.last.duration_since(spell.began) >= FAILING_FOR;
        let is_recent = spell.last.elapsed() < FORGOTTEN_AFTER;
        (lasts && is_recent).then(|| {
            let seconds = spell.began.elapsed().as_secs();
            format!("every request to the database fails for {seconds} s: {}", spell.reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_trouble_when_they_last_and_until_one_succeeds() {
        let health = Health::default();
        health.failed("cut");
        assert_eq!(health.trouble(), None);
        tokio::time::advance(FAILING_FOR).await;
        assert_eq!(health.trouble(), None, "one failure is no spell");
        health.failed("cut again");
        assert!(health.trouble().is_some_and(|trouble| trouble.contains("5 s: cut again")));
        health.succeeded();
        assert_eq!(health.trouble(), None);
        health.failed("later");
        assert_eq!(health.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn old_failures_say_nothing_any_more() {
        let health = Health::default();
        health.failed("cut");
        tokio::time::advance(FAILING_FOR).await;
        health.failed("cut");
        tokio::time::advance(FORGOTTEN_AFTER).await;
        assert_eq!(health.trouble(), None);
    }
}
