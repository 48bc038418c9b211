//! `posthorn recv`: print what waits, acknowledge it.

use client::{Client, Event, Inbox};

use crate::{
    cli::RecvArgs,
    failure::Outcome,
    locate::Place,
    peer::{self, Use},
    run::Signals,
    show::Printer,
};

/// Prints until the mailbox is empty, or with `--follow` until it is asked to end.
///
/// # Errors
/// When the cluster cannot be reached or refuses, or nobody reads the output.
///
/// # Cancel safety
/// What was printed and not acknowledged is printed again.
pub async fn run(args: RecvArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let client = peer::connect(&place, Use::Reads).await?;
    let printer = Printer::new(&place, args.output.format);
    let mut signals = Signals::take()?;
    let mut inbox = client.inbox();
    let printed = loop {
        let event = tokio::select! {
            biased;
            _ = signals.next() => break Ok(()),
            event = inbox.next() => event,
        };
        let Some(event) = event else { break ended(&client).await };
        if matches!(event, Event::CaughtUp(_)) && !args.follow {
            break Ok(());
        }
        if let Err(failure) = take(&printer, &event) {
            break Err(failure);
        }
    };
    client.close().await;
    printed
}

/// Prints an event and acknowledges it.
///
/// # Errors
/// When it cannot be printed; it is not acknowledged then.
pub(crate) fn take(printer: &Printer, event: &Event) -> Outcome {
    match event {
        Event::Item(item) => {
            printer.item(item)?;
            item.ack();
        }
        Event::Result { id, outcome, receipt } => {
            if let client::Outcome::Refused(verdict) = outcome {
                let why = peer::verdict_text(*verdict);
                eprintln!("an earlier message (no. {}) was refused: {why}", id.counter);
            }
            receipt.ack();
        }
        Event::Rejected(id, reason) => {
            eprintln!("an earlier message (no. {}) was rejected: {reason:?}", id.counter);
        }
        Event::CaughtUp(_) | Event::Accepted(_) => {}
        Event::Truncated(from) => {
            eprintln!("messages before {from} may be missing: this device was away for too long");
        }
        Event::Conflict(id) => {
            eprintln!("a second message under the name of one from {} was dropped", id.user);
        }
        Event::Undecodable(seq) => {
            eprintln!("the item at {seq} needs a newer version of this program");
        }
    }
    Ok(())
}

/// Why the client ended by itself.
pub(crate) async fn ended(client: &Client) -> Outcome {
    match client.connected().await {
        Ok(_) => Ok(()),
        Err(closed) => Err(peer::closed_failure(&closed)),
    }
}

/// Takes whatever comes without showing or acknowledging it, so that the rest can go on.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn pass_over(mut inbox: Inbox) {
    while inbox.next().await.is_some() {}
}
