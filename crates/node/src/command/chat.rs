//! `posthorn chat`: a conversation on a terminal.

use std::{io::IsTerminal as _, time::Duration};

use client::{Client, Hint};
use tokio::{task::JoinSet, time::Instant};
use wire::Address;

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

/// Somebody who goes on typing is told of again after this.
const TYPING_AGAIN: Duration = Duration::from_secs(5);

/// What others do besides sending messages, told on standard error.
struct Others<'a> {
    printer: &'a Printer,
    with: &'a Name,
    /// Who was last told to type, and when.
    typing: Option<(String, Instant)>,
}

/// Sends the lines that are typed and prints what comes, until the end of the input. With a person
/// both sides see whether the other one is there.
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
    let mut others = Others { printer: &printer, with: &with, typing: None };
    others.follow(&client, to);
    let mut signals = Signals::take()?;
    let mut lines = Lines::of_stdin();
    let (mut inbox, mut hints) = (client.inbox(), client.hints());
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
            Some(hint) = hints.next() => {
                others.tell(&hint);
                Ok(())
            }
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

impl Others<'_> {
    /// Watches the person this is with, and shows itself to it.
    fn follow(&self, client: &Client, with: Address) {
        let Address::User(user) = with else { return };
        let shown = client.watch(&[user]).and_then(|()| client.show(&[user]));
        shown.expect("one user is within every limit");
    }

    fn tell(&mut self, hint: &Hint) {
        match hint {
            Hint::Online(_) => eprintln!("{} is online", self.with),
            Hint::Offline(_) => eprintln!("{} is offline", self.with),
            Hint::Signal { from, body, .. } => {
                let issuer = &self.printer.issuer;
                if let Some(who) = content::decode_typing(issuer, *from, body) {
                    self.tell_typing(who);
                }
            }
        }
    }

    fn tell_typing(&mut self, who: String) {
        let now = Instant::now();
        let was_told = self.typing.take().filter(|(told, at)| *told == who && now < *at);
        if was_told.is_none() {
            eprintln!("{} is typing\u{2026}", content::for_terminal(&who));
        }
        self.typing = Some(was_told.unwrap_or((who, now + TYPING_AGAIN)));
    }
}
