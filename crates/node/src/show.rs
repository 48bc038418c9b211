//! Items of a mailbox as the commands print them.

use client::Item;
use serde::Serialize;
use wire::{
    Address, UserId,
    item::{Body, DeviceChange, GroupChange, Role},
};

use crate::{
    cli::Format,
    content::{self, Saying, Shown},
    failure::Outcome,
    locate::Place,
    name, output, peer,
};

/// An item as a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    from: &'a str,
    to: String,
    seq: u64,
    #[serde(flatten)]
    saying: &'a Saying,
}

/// Prints items, for one reader.
#[derive(Clone, Debug)]
pub struct Printer {
    /// The issuer in whose names people are named.
    pub issuer: String,
    /// Whose mailbox it is.
    pub reader: String,
    /// Other people whose names are known.
    pub known: Vec<String>,
    /// How.
    pub format: Format,
}

impl Printer {
    /// Prints what a person reads at a place.
    #[must_use]
    pub fn new(place: &Place, format: Format) -> Self {
        let (issuer, reader) = (place.issuer.clone(), place.person.clone());
        Self { issuer, reader, known: place.known_people(), format }
    }

    /// Prints an item of the inbox.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn item(&self, item: &Item) -> Outcome {
        self.row(item.seq.get(), &item.item)
    }

    /// Prints an item at a place of the mailbox.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn row(&self, seq: u64, item: &wire::Item) -> Outcome {
        match &item.body {
            Body::Message(payload) => {
                let shown = content::decode(&self.issuer, item.id.user, item.to, payload);
                self.message(seq, item.to, &shown)
            }
            Body::GroupChange(change) => {
                self.event(item, &self.group_event(change));
                Ok(())
            }
            Body::DeviceChange(change) => {
                self.event(item, &device_event(change));
                Ok(())
            }
            Body::Verdict(verdict) => {
                self.event(item, &format!("was refused: {}", peer::verdict_text(*verdict)));
                Ok(())
            }
        }
    }

    fn message(&self, seq: u64, to: Address, shown: &Shown) -> Outcome {
        let group = shown.group.as_deref();
        match self.format {
            Format::Json => output::json(&Line {
                from: &shown.from,
                to: group.map_or_else(|| self.person(to), str::to_owned),
                seq,
                saying: &shown.saying,
            }),
            Format::Text => {
                let from = content::for_terminal(&shown.from);
                let place = match group {
                    Some(group) => format!(" in {}", content::for_terminal(group)),
                    None if self.person(to) == self.reader => String::new(),
                    None => format!(" to {}", self.person(to)),
                };
                output::line(&format!("{from}{place}: {}", shown.saying.to_terminal()))
            }
        }
    }

    /// What is not a message goes to standard error, so that every line of output is a message.
    fn event(&self, item: &wire::Item, event: &str) {
        let from = self.known(item.id.user);
        eprintln!("* {}: {from} {event}", self.person(item.to));
    }

    /// Where something was sent.
    fn person(&self, address: Address) -> String {
        match address {
            Address::User(user) => self.known(user),
            Address::Group(group) => format!("#{group}"),
        }
    }

    /// A person by name when it is known, otherwise by id.
    #[must_use]
    pub fn known(&self, user: UserId) -> String {
        let is_user = |name: &&String| name::user_id(&self.issuer, name) == user;
        let known = std::iter::once(&self.reader).chain(&self.known).find(is_user);
        known.cloned().unwrap_or_else(|| user.to_string())
    }

    fn group_event(&self, change: &GroupChange) -> String {
        let users = |users: &[UserId]| {
            users.iter().map(|user| self.known(*user)).collect::<Vec<_>>().join(", ")
        };
        match change {
            GroupChange::Create(members) if members.is_empty() => "created the group".to_owned(),
            GroupChange::Create(members) => format!("created the group with {}", users(members)),
            GroupChange::Add(members) => format!("added {}", users(members)),
            GroupChange::Remove(members) => format!("removed {}", users(members)),
            GroupChange::Leave => "left".to_owned(),
            GroupChange::SetRole(user, Role::Admin) => {
                format!("made {} an admin", self.known(*user))
            }
            GroupChange::SetRole(user, Role::Member) => {
                format!("made {} a member", self.known(*user))
            }
        }
    }
}

fn device_event(change: &DeviceChange) -> String {
    match change {
        DeviceChange::Register { device_key, agent } => {
            let device = wire::auth::device_id(device_key);
            format!("has a new device {device} ({})", content::for_terminal(agent))
        }
        DeviceChange::Revoke(device) => format!("revoked the device {device}"),
    }
}
