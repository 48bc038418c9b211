//! Names people give: of a person, of a group (`#name`), of a device.

use wire::{Address, GroupId, UserId, auth};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// A name, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Someone to write to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A person.
    Person(String),
    /// A group, without its `#`.
    Group(String),
}

impl Name {
    /// The name in `text`: a group when it begins with `#`.
    ///
    /// # Errors
    /// When it is empty, too long, or has white space or control characters.
    pub fn parse(text: &str) -> Outcome<Self> {
        match text.strip_prefix('#') {
            Some(group) => plain(group, text).map(Self::Group),
            None => plain(text, text).map(Self::Person),
        }
    }

    /// Where to send to it, among the names of this issuer.
    #[must_use]
    pub fn address(&self, issuer: &str) -> Address {
        match self {
            Self::Person(name) => Address::User(auth::user_id(issuer, name)),
            Self::Group(name) => Address::Group(auth::group_id(issuer, name)),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person(name) => f.write_str(name),
            Self::Group(name) => write!(f, "#{name}"),
        }
    }
}

/// A person's name.
///
/// # Errors
/// When it is not one; also when it is a group's.
pub fn person(text: &str) -> Outcome<String> {
    match Name::parse(text)? {
        Name::Person(name) => Ok(name),
        Name::Group(_) => Err(Failure::new(Code::BadName, format!("`{text}` is a group"))
            .remedy("name a person here, without `#`")),
    }
}

/// A group's name, with or without its `#`.
///
/// # Errors
/// When it is not one.
pub fn group(text: &str) -> Outcome<String> {
    plain(text.strip_prefix('#').unwrap_or(text), text)
}

/// The user called so by this issuer.
#[must_use]
pub fn user_id(issuer: &str, person: &str) -> UserId {
    auth::user_id(issuer, person)
}

/// The group called so by people of this issuer.
#[must_use]
pub fn group_id(issuer: &str, group: &str) -> GroupId {
    auth::group_id(issuer, group)
}

/// A name as one component of a path, the same for the same name and for no other.
#[must_use]
pub fn to_component(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    // A dot never occurs in a plain name, so the two kinds cannot meet.
    name.bytes().fold(String::from("x."), |hex, byte| format!("{hex}{byte:02x}"))
}

fn plain(name: &str, shown: &str) -> Outcome<String> {
    let bad = |why: &str| {
        Failure::new(Code::BadName, format!("`{}` is not a name: {why}", shown.escape_debug()))
            .remedy("a name has 1 to 64 bytes without white space; a group is written '#name'")
    };
    if name.is_empty() {
        return Err(bad("it is empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(bad("it is too long"));
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(bad("it holds white space, a control character or `#`"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_group_begins_with_a_hash() {
        assert_eq!(Name::parse("bob").unwrap(), Name::Person("bob".into()));
        assert_eq!(Name::parse("#team").unwrap(), Name::Group("team".into()));
        assert_eq!(Name::parse("#team").unwrap().to_string(), "#team");
        assert!(person("#team").is_err());
        assert_eq!(group("team").unwrap(), group("#team").unwrap());
    }

    #[test]
    fn what_could_be_mistaken_is_not_a_name() {
        for text in ["", "#", "a b", "a\n", "##a", &"x".repeat(65)] {
            assert_eq!(Name::parse(text).unwrap_err().code(), Code::BadName, "{text:?}");
        }
    }

    #[test]
    fn components_are_safe_and_differ() {
        let names = ["alice", "Alice", "..", ".", "a/b", "x.2e", "Zoë"];
        let components: std::collections::BTreeSet<_> = names.map(to_component).into();
        assert_eq!(components.len(), names.len());
        assert!(components.iter().all(|one| !one.contains('/') && !one.starts_with('.')));
    }
}
