//! What the demo sends: people, groups and messages, from JSON Lines or plain text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wire::limits::{GROUP_MEMBERS_MAX, PAYLOAD_BYTES_MAX};

use crate::{
    catalogue::Code,
    content,
    failure::{Failure, Outcome},
    name::{self, Name},
};

/// The people of a plain text, in turn.
const PLAIN_TEXT_PEOPLE: [&str; 2] = ["alice", "bob"];

/// A conversation to route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Everybody who sends or receives; the others name them by their place here.
    pub people: Vec<String>,
    /// Every group with its members, in the order of their appearance; the first one creates it.
    pub groups: Vec<Group>,
    /// The messages in order.
    pub messages: Vec<Message>,
}

/// A group of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name without `#`.
    pub name: String,
    /// Its members, by their place in [`Script::people`].
    pub members: Vec<usize>,
}

/// A message of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub from: usize,
    /// Whom it is for.
    pub to: Target,
    /// What it says.
    pub text: String,
}

/// Whom a message is for, by the place in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A person.
    Person(usize),
    /// A group.
    Group(usize),
}

/// A line of JSON Lines: a message, or the members of a group.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Message(MessageLine),
    Members(MembersLine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageLine {
    from: String,
    to: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersLine {
    group: String,
    members: Vec<String>,
}

/// A script while it is read: places of names.
#[derive(Default)]
pub(crate) struct Builder {
    script: Script,
    people: BTreeMap<String, usize>,
    groups: BTreeMap<String, usize>,
    members: BTreeSet<(usize, usize)>,
}

impl Script {
    /// The script in `text`: JSON Lines when the first line that is not blank begins with `{`,
    /// otherwise plain text, a message a line, two people in turn. Blank lines are passed over.
    ///
    /// # Errors
    /// The first line that is not a message, by its number; or that there is none.
    pub fn parse(file: &str, text: &str) -> Outcome<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let is_json = text.trim_start().starts_with('{');
        let mut builder = Builder::default();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (turn, (index, line)) in lines.enumerate() {
            let added = if is_json {
                builder.add_json(line)
            } else {
                let [from, to] = [turn % 2, (turn + 1) % 2].map(|one| PLAIN_TEXT_PEOPLE[one]);
                builder.add(from, to, line)
            };
            added.map_err(|why| {
                Failure::new(Code::DemoLine, why)
                    .at(format!("{file}, line {}", index + 1))
                    .remedy(r#"a line is {"from":"alice","to":"bob","text":"hello"}"#)
            })?;
        }
        if builder.script.messages.is_empty() {
            return Err(Failure::new(Code::DemoEmpty, "there is no message in the input")
                .at(file.to_owned())
                .remedy("give a file with at least one message, or none at all"));
        }
        Ok(builder.script)
    }

    /// Who receives a message, its sender included when they are a member or the addressee.
    #[must_use]
    pub fn recipients(&self, message: &Message) -> Vec<usize> {
        match message.to {
            Target::Person(person) => vec![person],
            Target::Group(group) => self.groups[group].members.clone(),
        }
    }
}

impl Builder {
    pub(crate) fn finish(self) -> Script {
        self.script
    }

    fn add_json(&mut self, line: &str) -> Result<(), String> {
        // Parsed twice, so that the error is about the kind of line that was meant.
        let value: serde_json::Value =
            serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        let is_members = value.get("group").is_some();
        let line = if is_members {
            serde_json::from_value(value).map(Line::Members)
        } else {
            serde_json::from_value(value).map(Line::Message)
        };
        match line.map_err(|error| error.to_string())? {
            Line::Message(message) => self.add(&message.from, &message.to, &message.text),
            Line::Members(members) => self.add_members(&members.group, &members.members),
        }
    }

    /// Adds a message between names, `#name` for a group.
    pub(crate) fn add(&mut self, from: &str, to: &str, text: &str) -> Result<(), String> {
        let from_name = name::person(from).map_err(|_| not_a_name("from", from))?;
        let from = self.person(&from_name);
        let to = match Name::parse(to).map_err(|_| not_a_name("to", to))? {
            Name::Person(person) => Target::Person(self.person(&person)),
            Name::Group(group) => {
                let group = self.group(&group);
                self.join(group, from)?;
                Target::Group(group)
            }
        };
        let group = match to {
            Target::Person(_) => None,
            Target::Group(group) => Some(self.script.groups[group].name.as_str()),
        };
        let payload_len = content::encode(&from_name, group, text).len();
        if payload_len > PAYLOAD_BYTES_MAX {
            return Err(format!("{payload_len} bytes are more than a message may have (64 KiB)"));
        }
        self.script.messages.push(Message { from, to, text: text.to_owned() });
        Ok(())
    }

    pub(crate) fn add_members(&mut self, group: &str, members: &[String]) -> Result<(), String> {
        let name = match Name::parse(group) {
            Ok(Name::Group(name)) => name,
            Ok(Name::Person(_)) | Err(_) => return Err(not_a_name("group", group)),
        };
        let group = self.group(&name);
        for member in members {
            let person = name::person(member).map_err(|_| not_a_name("members", member))?;
            let person = self.person(&person);
            self.join(group, person)?;
        }
        Ok(())
    }

    fn person(&mut self, name: &str) -> usize {
        if let Some(place) = self.people.get(name) {
            return *place;
        }
        let place = self.script.people.len();
        self.script.people.push(name.to_owned());
        self.people.insert(name.to_owned(), place);
        place
    }

    fn group(&mut self, name: &str) -> usize {
        if let Some(place) = self.groups.get(name) {
            return *place;
        }
        let place = self.script.groups.len();
        self.script.groups.push(Group { name: name.to_owned(), members: Vec::new() });
        self.groups.insert(name.to_owned(), place);
        place
    }

    fn join(&mut self, group: usize, person: usize) -> Result<(), String> {
        let members = &mut self.script.groups[group].members;
        if self.members.insert((group, person)) {
            members.push(person);
        }
        if members.len() > GROUP_MEMBERS_MAX {
            return Err(format!("a group has at most {GROUP_MEMBERS_MAX} members"));
        }
        Ok(())
    }
}

fn not_a_name(field: &str, text: &str) -> String {
    format!("`{}` is not a name for `{field}`", text.escape_debug())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The script, one line per message, then one per group.
    fn check(text: &str, expected: &[&str]) {
        let script = Script::parse("input", text).unwrap();
        let name = |place: usize| script.people[place].as_str();
        let mut shown: Vec<String> = Vec::new();
        for message in &script.messages {
            let to = match message.to {
                Target::Person(person) => name(person).to_owned(),
                Target::Group(group) => format!("#{}", script.groups[group].name),
            };
            shown.push(format!("{} -> {to}: {}", name(message.from), message.text));
        }
        for group in &script.groups {
            let members: Vec<_> = group.members.iter().map(|member| name(*member)).collect();
            shown.push(format!("#{}: {}", group.name, members.join(" ")));
        }
        assert_eq!(shown, expected);
    }

    #[test]
    fn plain_text_is_two_people_in_turn() {
        check(
            "hi\n\n  \nhello {you}\nbye\r\n",
            &["alice -> bob: hi", "bob -> alice: hello {you}", "alice -> bob: bye"],
        );
    }

    #[test]
    fn json_lines_name_sender_addressee_and_text() {
        check(
            "\n{\"from\":\"a\",\"to\":\"b\",\"text\":\"x\"}\n\n\
             {\"text\":\"\",\"to\":\"a\",\"from\":\"a\"}",
            &["a -> b: x", "a -> a: "],
        );
    }

    #[test]
    fn the_members_of_a_group_speak_in_it_or_are_named() {
        check(
            "{\"from\":\"a\",\"to\":\"#g\",\"text\":\"1\"}\n\
             {\"group\":\"#g\",\"members\":[\"c\",\"a\"]}\n\
             {\"from\":\"b\",\"to\":\"#g\",\"text\":\"2\"}",
            &["a -> #g: 1", "b -> #g: 2", "#g: a c b"],
        );
    }

    fn refused(text: &str, code: Code, part: &str) {
        let failure = Script::parse("input", text).unwrap_err();
        assert_eq!(failure.code(), code);
        assert!(failure.to_string().contains(part), "{part:?} is not in:\n{failure}");
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let good = "{\"from\":\"a\",\"to\":\"b\",\"text\":\"x\"}\n";
        for (bad, part) in [
            ("hello", "not JSON"),
            ("{\"from\":\"a\",\"to\":\"b\"}", "text"),
            ("{\"from\":\"a\",\"to\":\"b\",\"text\":\"x\",\"tex\":1}", "tex"),
            ("{\"from\":\"#a\",\"to\":\"b\",\"text\":\"x\"}", "from"),
            ("{\"from\":\"a\",\"to\":\"\",\"text\":\"x\"}", "to"),
            ("{\"group\":\"g\",\"members\":[]}", "group"),
            ("[1]", "input, line 3"),
        ] {
            refused(&format!("{good}\n{bad}\n{good}"), Code::DemoLine, "line 3");
            refused(&format!("{good}\n{bad}\n{good}"), Code::DemoLine, part);
        }
        let long = "x".repeat(PAYLOAD_BYTES_MAX);
        refused(&long, Code::DemoLine, "64 KiB");
    }

    #[test]
    fn an_input_without_messages_is_refused() {
        refused("", Code::DemoEmpty, "no message");
        refused(" \n\t\n", Code::DemoEmpty, "no message");
        refused("{\"group\":\"#g\",\"members\":[\"a\"]}", Code::DemoEmpty, "no message");
    }
}
