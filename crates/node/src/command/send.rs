//! `posthorn send`: one message, or lines of standard input.

use std::{sync::Arc, time::Duration};

use client::{Client, SendError, Sending};
use serde::Serialize;
use tokio::task::JoinSet;
use wire::Address;

use crate::{
    catalogue::Code,
    cli::{Format, SendArgs},
    config::value::Value as _,
    content,
    failure::{Failure, Outcome},
    input::Lines,
    locate::Place,
    name::Name,
    output,
    peer::{self, Use},
};

/// Messages under way at once; a device may have 256.
const IN_FLIGHT_MAX: usize = 200;

/// The result as JSON.
#[derive(Serialize)]
struct Sent {
    accepted: usize,
}

/// Messages on their way.
struct Pipeline {
    client: Arc<Client>,
    from: String,
    group: Option<String>,
    to: Address,
    keep: Duration,
    under_way: JoinSet<Result<client::Accepted, SendError>>,
    accepted: usize,
}

/// Sends, and says how many were accepted.
///
/// # Errors
/// The first message that was not accepted; those before it were.
///
/// # Cancel safety
/// What was taken and not accepted goes out first with the next start of the device.
pub async fn run(args: SendArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let to = Name::parse(&args.to)?;
    let keep = args.keep.as_deref().map(keep).transpose()?.unwrap_or_default();
    let client = Arc::new(peer::connect(&place, Use::Sends).await?);
    let mut pipeline = Pipeline {
        client: Arc::clone(&client),
        from: place.person.clone(),
        group: match &to {
            Name::Group(group) => Some(group.clone()),
            Name::Person(_) => None,
        },
        to: to.address(&place.issuer),
        keep,
        under_way: JoinSet::new(),
        accepted: 0,
    };
    let sent = match &args.text {
        Some(text) => pipeline.send(text).await,
        None => pipeline.send_lines().await,
    };
    let finished = pipeline.finish().await;
    let accepted = pipeline.accepted;
    drop(pipeline);
    if let Some(client) = Arc::into_inner(client) {
        client.close().await;
    }
    match args.output.format {
        Format::Json => output::json(&Sent { accepted })?,
        Format::Text => output::line(&format!("{accepted} accepted"))?,
    }
    sent.and(finished)
}

fn keep(text: &str) -> Outcome<Duration> {
    let keep = Duration::parse(text).ok().filter(|keep| keep.as_secs() > 0);
    keep.ok_or_else(|| {
        Failure::new(Code::BadValue, format!("`{}` is not a time to keep", text.escape_debug()))
            .at("--keep")
            .remedy("write whole seconds or more, such as 90s, 10m or 7d")
    })
}

impl Pipeline {
    async fn send_lines(&mut self) -> Outcome {
        let mut lines = Lines::of_stdin();
        while let Some(line) = lines.next().await? {
            if !line.trim().is_empty() {
                self.send(&line).await?;
            }
        }
        Ok(())
    }

    /// Sends one message; waits only for room.
    async fn send(&mut self, text: &str) -> Outcome {
        while self.under_way.len() >= IN_FLIGHT_MAX {
            self.take_answer().await?;
        }
        let payload = content::encode(&self.from, self.group.as_deref(), text);
        let sending: Sending = loop {
            match self.client.enqueue_for(self.to, payload.clone(), self.keep) {
                Ok(sending) => break sending,
                // What an earlier run left in the outbox goes first.
                Err(SendError::Full) if !self.under_way.is_empty() => self.take_answer().await?,
                Err(error) => return Err(peer::send_failure(&error)),
            }
        };
        self.under_way.spawn(sending);
        Ok(())
    }

    async fn finish(&mut self) -> Outcome {
        let mut outcome = Ok(());
        while !self.under_way.is_empty() {
            outcome = outcome.and(self.take_answer().await);
        }
        outcome
    }

    async fn take_answer(&mut self) -> Outcome {
        match self.under_way.join_next().await {
            None => Ok(()),
            Some(Ok(Ok(_))) => {
                self.accepted += 1;
                Ok(())
            }
            Some(Ok(Err(error))) => Err(peer::send_failure(&error)),
            Some(Err(error)) => Err(anyhow::Error::from(error).into()),
        }
    }
}
