//! What the command line puts into a payload, and how it shows any payload.
//!
//! A small JSON object, `{"from":"alice","text":"hello"}`, with `"group":"#name"` in a group. Names
//! are not what the cluster knows; they prove themselves by the id made of them: whoever claims a
//! name that does not make the sender's id is shown by the id instead. The body of a signal is
//! `{"from":"alice","typing":true}`, likewise.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wire::{Address, UserId};

use crate::name;

/// The content of a payload made by the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    text: String,
}

/// The content of a signal that somebody types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Typing {
    from: String,
    typing: bool,
}

/// The body of a signal that `from` types.
#[must_use]
pub fn encode_typing(from: &str) -> Bytes {
    let typing = Typing { from: from.to_owned(), typing: true };
    serde_json::to_vec(&typing).expect("texts are always JSON").into()
}

/// Who types, if that is what the signal `bytes` of `sender` says; names are those of `issuer`.
#[must_use]
pub fn decode_typing(issuer: &str, sender: UserId, bytes: &[u8]) -> Option<String> {
    let typing: Typing = serde_json::from_slice(bytes).ok()?;
    let is_from = name::user_id(issuer, &typing.from) == sender;
    typing.typing.then(|| if is_from { typing.from } else { sender.to_string() })
}

/// The payload of a text.
#[must_use]
pub fn encode(from: &str, group: Option<&str>, text: &str) -> Bytes {
    let group = group.map(|group| format!("#{group}"));
    let content = Content { from: from.to_owned(), group, text: text.to_owned() };
    serde_json::to_vec(&content).expect("texts are always JSON").into()
}

/// A payload as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who sent it: the name when it proves itself, otherwise the id.
    pub from: String,
    /// The group it was sent to, likewise; none for a person.
    pub group: Option<String>,
    /// What it says.
    pub saying: Saying,
}

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Saying {
    /// Text.
    Text(String),
    /// Bytes that are not text, as base64.
    Base64(String),
}

/// The payload `bytes` that `sender` sent to `to`; names are those of `issuer`.
#[must_use]
pub fn decode(issuer: &str, sender: UserId, to: Address, bytes: &[u8]) -> Shown {
    let group_hex = match to {
        Address::User(_) => None,
        Address::Group(group) => Some(format!("#{group}")),
    };
    let Ok(content) = serde_json::from_slice::<Content>(bytes) else {
        let saying = match std::str::from_utf8(bytes) {
            Ok(text) => Saying::Text(text.to_owned()),
            Err(_) => Saying::Base64(BASE64_STANDARD.encode(bytes)),
        };
        return Shown { from: sender.to_string(), group: group_hex, saying };
    };
    let is_from = name::user_id(issuer, &content.from) == sender;
    let is_group = |claimed: &String| {
        let id = name::group_id(issuer, claimed.trim_start_matches('#'));
        to == Address::Group(id)
    };
    Shown {
        from: if is_from { content.from } else { sender.to_string() },
        group: group_hex.map(|hex| content.group.filter(is_group).unwrap_or(hex)),
        saying: Saying::Text(content.text),
    }
}

impl Saying {
    /// What a terminal shows: text without control characters that could change the terminal.
    #[must_use]
    pub fn to_terminal(&self) -> String {
        match self {
            Self::Text(text) => for_terminal(text),
            Self::Base64(encoded) => format!("<base64> {encoded}"),
        }
    }
}

/// `text` with control characters shown instead of obeyed; new lines are indented.
#[must_use]
pub fn for_terminal(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push(c),
            c if c.is_control() || is_direction(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Characters that reorder what a terminal shows around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://issuer.example";

    fn check(
        sender: &str,
        to: Address,
        payload: &[u8],
        from: &str,
        group: Option<&str>,
        text: &str,
    ) {
        let shown = decode(ISSUER, name::user_id(ISSUER, sender), to, payload);
        assert_eq!(shown.from, from);
        assert_eq!(shown.group.as_deref(), group);
        assert_eq!(shown.saying.to_terminal(), text);
    }

    #[test]
    fn a_name_is_shown_only_when_it_makes_the_senders_id() {
        let to = Address::User(name::user_id(ISSUER, "bob"));
        let payload = encode("alice", None, "hello");
        check("alice", to, &payload, "alice", None, "hello");
        let mallory = name::user_id(ISSUER, "mallory").to_string();
        check("mallory", to, &payload, &mallory, None, "hello");
    }

    #[test]
    fn a_group_name_is_shown_only_when_it_makes_the_groups_id() {
        let id = name::group_id(ISSUER, "team");
        let hex = format!("#{id}");
        let payload = encode("alice", Some("team"), "hi");
        check("alice", Address::Group(id), &payload, "alice", Some("#team"), "hi");
        let payload = encode("alice", Some("other"), "hi");
        check("alice", Address::Group(id), &payload, "alice", Some(&hex), "hi");
    }

    #[test]
    fn any_other_payload_is_text_or_base64() {
        let to = Address::User(name::user_id(ISSUER, "bob"));
        let alice = name::user_id(ISSUER, "alice").to_string();
        check("alice", to, b"plain", &alice, None, "plain");
        check("alice", to, b"{\"from\":1}", &alice, None, "{\"from\":1}");
        check("alice", to, &[0xff, 0], &alice, None, "<base64> /wA=");
        check("alice", to, b"", &alice, None, "");
    }

    #[test]
    fn only_a_signal_that_says_so_is_typing_and_names_prove_themselves() {
        let (alice, mallory) = (name::user_id(ISSUER, "alice"), name::user_id(ISSUER, "mallory"));
        let typing = encode_typing("alice");
        assert_eq!(decode_typing(ISSUER, alice, &typing), Some("alice".to_owned()));
        assert_eq!(decode_typing(ISSUER, mallory, &typing), Some(mallory.to_string()));
        let stopped = br#"{"from":"alice","typing":false}"#;
        assert_eq!(decode_typing(ISSUER, alice, stopped), None);
        assert_eq!(decode_typing(ISSUER, alice, b"\xff"), None);
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(for_terminal("a\x1b[2Jb\r\u{202e}c"), "a\\u{1b}[2Jb\\u{d}\\u{202e}c");
        assert_eq!(for_terminal("one\ntwo"), "one\n    two");
    }
}
