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
    name, output, peer,
};

/// An item as a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    from: &'a str,
    to: String,
    seq: u64,
    #[serde(flatten)]
    saying: Option<&'a Saying>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
}

/// Prints items, for one reader.
#[derive(Clone, Debug)]
pub struct Printer {
    /// The issuer in whose names people are named.
    pub issuer: String,
    /// Whose mailbox it is.
    pub reader: String,
    /// How.
    pub format: Format,
}

impl Printer {
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
            Body::GroupChange(change) => self.event(seq, item, &group_event(change)),
            Body::DeviceChange(change) => self.event(seq, item, &device_event(change)),
            Body::Verdict(verdict) => {
                self.event(seq, item, &format!("refused: {}", peer::verdict_text(*verdict)))
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
                saying: Some(&shown.saying),
                event: None,
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

    fn event(&self, seq: u64, item: &wire::Item, event: &str) -> Outcome {
        let from = self.known(item.id.user);
        let to = match item.to {
            Address::Group(group) => format!("#{group}"),
            Address::User(_) => self.person(item.to),
        };
        match self.format {
            Format::Json => {
                let event = Some(event.to_owned());
                output::json(&Line { from: &from, to, seq, saying: None, event })
            }
            Format::Text => output::line(&format!("* {to}: {from} {event}")),
        }
    }

    /// A person by name when it is the reader, otherwise by id.
    fn person(&self, address: Address) -> String {
        match address {
            Address::User(user) => self.known(user),
            Address::Group(group) => format!("#{group}"),
        }
    }

    fn known(&self, user: UserId) -> String {
        let is_reader = name::user_id(&self.issuer, &self.reader) == user;
        if is_reader { self.reader.clone() } else { user.to_string() }
    }
}

fn group_event(change: &GroupChange) -> String {
    let users =
        |users: &[UserId]| users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match change {
        GroupChange::Create(members) if members.is_empty() => "created the group".to_owned(),
        GroupChange::Create(members) => format!("created the group with {}", users(members)),
        GroupChange::Add(members) => format!("added {}", users(members)),
        GroupChange::Remove(members) => format!("removed {}", users(members)),
        GroupChange::Leave => "left".to_owned(),
        GroupChange::SetRole(user, Role::Admin) => format!("made {user} an admin"),
        GroupChange::SetRole(user, Role::Member) => format!("made {user} a member"),
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
