//! Opening an engine that may not be there yet: processes and engines start in any order.

use std::time::Duration;

use ports::operate::OpenError;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    assemble::standing::{EngineName, Standing},
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// Pause after the first attempt; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// An attempt that takes longer has failed.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(60);
/// While it is waited, a line of the log says so this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What was last said about an engine.
struct Said {
    at: Instant,
    is_reached: bool,
}

/// Opens an engine, again and again until it is there.
///
/// # Errors
/// When it refuses.
///
/// # Cancel safety
/// That of an attempt.
pub(super) async fn open<T>(
    engine: EngineName,
    standing: &Standing,
    mut attempt: impl AsyncFnMut() -> Result<T, OpenError>,
) -> Outcome<T> {
    standing.opening(engine, "being opened".to_owned());
    let mut pause = PAUSE_MIN;
    let mut said: Option<Said> = None;
    loop {
        let tried = timeout(ATTEMPT_WITHIN, attempt()).await;
        let (what, is_reached) = match tried {
            Ok(Ok(opened)) => {
                standing.opened(engine);
                if said.is_some() {
                    tracing::info!(%engine, "the engine is there");
                }
                return Ok(opened);
            }
            Ok(Err(OpenError::Refused { what, remedy })) => {
                return Err(Failure::new(Code::EngineRefused, what)
                    .at(format!("[{engine}]"))
                    .remedy(remedy));
            }
            Ok(Err(OpenError::NotReady { what, remedy })) => (format!("{what} ({remedy})"), true),
            Ok(Err(OpenError::Unreachable(what))) => (what, false),
            Err(_) => ("no answer within a minute".to_owned(), false),
        };
        standing.opening(engine, format!("{what}; trying again"));
        let is_news = |said: &Said| said.is_reached != is_reached || said.at.elapsed() >= SAY_EVERY;
        if said.as_ref().is_none_or(is_news) {
            tracing::warn!(%engine, "waiting for an engine: {what}; trying again");
            said = Some(Said { at: Instant::now(), is_reached });
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    /// Opens an engine that answers so; gives the outcome and what was told before each attempt.
    async fn check(answers: Vec<Result<(), OpenError>>) -> (Outcome, Vec<String>) {
        let standing = Standing::default();
        let told = Mutex::new(Vec::new());
        let mut answers = answers.into_iter();
        let outcome = open(EngineName::Kafka, &standing, async || {
            told.lock().unwrap().extend(standing.reasons());
            answers.next().unwrap()
        })
        .await;
        told.lock().unwrap().extend(standing.reasons());
        (outcome, told.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_waited_for_and_readiness_says_what_for() {
        let (outcome, told) = check(vec![
            Err(OpenError::Unreachable("127.0.0.1:9 does not answer".to_owned())),
            Err(OpenError::NotReady { what: "no topics".to_owned(), remedy: "make".to_owned() }),
            Ok(()),
        ])
        .await;
        outcome.unwrap();
        assert_eq!(
            told,
            [
                "kafka: being opened",
                "kafka: 127.0.0.1:9 does not answer; trying again",
                "kafka: no topics (make); trying again",
                "starting"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_refuses_is_not_waited_for() {
        let refused =
            OpenError::Refused { what: "one copy".to_owned(), remedy: "replicate".to_owned() };
        let failure = check(vec![Err(refused)]).await.0.unwrap_err();
        assert_eq!(failure.code(), Code::EngineRefused);
        let text = failure.to_string();
        for part in ["one copy", "[kafka]", "replicate"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_made_again() {
        let standing = Standing::default();
        let mut attempts = 0;
        let opened = open(EngineName::Cql, &standing, async || {
            attempts += 1;
            if attempts < 3 {
                std::future::pending::<()>().await;
            }
            Ok(attempts)
        });
        assert_eq!(opened.await.unwrap(), 3);
    }
}
