//! `posthorn chat`: a conversation on a terminal.

use std::io::IsTerminal as _;

use tokio::task::JoinSet;

use crate::{
    cli::{ChatArgs, Format},
    command::recv,
    content,
    failure::Outcome,
    input::Lines,
    locate::Place,
    name::Name,
    peer::{self, Use},
    run::Signals,
    show::Printer,
};

/// Sends the lines that are typed and prints what comes, until the end of the input.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
///
/// # Cancel safety
/// What was typed and not accepted goes out with the next start of the device.
pub async fn run(args: ChatArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let with = Name::parse(&args.with)?;
    let to = with.address(&place.issuer);
    let group = match &with {
        Name::Group(group) => Some(group.as_str()),
        Name::Person(_) => None,
    };
    let client = peer::connect(&place, Use::Reads).await?;
    let printer = Printer::new(&place, Format::Text);
    if std::io::stderr().is_terminal() {
        eprintln!("{} with {with}: a line is a message, Ctrl-D ends", place.person);
    }
    let mut signals = Signals::take()?;
    let mut lines = Lines::of_stdin();
    let mut inbox = client.inbox();
    let mut sends = JoinSet::new();
    let talked = loop {
        let step = tokio::select! {
            biased;
            _ = signals.next() => break Ok(()),
            Some(sent) = sends.join_next() => match sent {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(peer::send_failure(&error)),
                Err(error) => Err(anyhow::Error::from(error).into()),
            },
            event = inbox.next() => match event {
                Some(event) => recv::take(&printer, &event),
                None => break recv::ended(&client).await,
            },
            line = lines.next() => match line {
                Ok(None) => break Ok(()),
                Err(failure) => Err(failure),
                Ok(Some(line)) if line.trim().is_empty() => Ok(()),
                Ok(Some(line)) => {
                    let payload = content::encode(&place.person, group, &line);
                    match client.enqueue(to, payload) {
                        Ok(sending) => {
                            sends.spawn(sending);
                            Ok(())
                        }
                        Err(error) => Err(peer::send_failure(&error)),
                    }
                }
            },
        };
        if let Err(failure) = step {
            // One message that cannot go does not end a conversation.
            eprintln!("{failure}");
        }
    };
    // Waits for what is under way.
    client.close().await;
    talked
}
