//! The conversation the demo makes up when it is given none: the same one every time.

use crate::demo::script::{Builder, Script};

/// Messages of the invented conversation.
const MESSAGES: usize = 600;

const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const GROUPS: [(&str, &[&str]); 2] =
    [("#picnic", &["alice", "bob", "carol", "dave"]), ("#band", &["bob", "erin", "frank"])];
const OPENINGS: [&str; 6] = ["Hello", "Listen", "By the way", "One moment", "Good news", "Well"];
const MIDDLES: [&str; 6] = [
    "the coach leaves at seven",
    "I have packed the horn",
    "it rains in the hills",
    "the letters are on their way",
    "there is tea in the kitchen",
    "the road over the pass is open",
];
const ENDINGS: [&str; 5] =
    ["– shall we go?", "– what do you think?", "– see you there.", "🙂", "!"];

/// Chooses by a multiplicative congruence (constants of Knuth's MMIX).
struct Choice(u64);

impl Choice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = usize::try_from(self.0 >> 33).expect("31 bits fit");
        high % bound
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// The conversation.
///
/// # Panics
/// Never: its names and texts are valid.
#[must_use]
pub fn script() -> Script {
    let mut choice = Choice(1);
    let mut builder = Builder::default();
    for (group, members) in GROUPS {
        let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
        builder.add_members(group, &members).expect("the names are valid");
    }
    for number in 1..=MESSAGES {
        let (opening, middle, ending) =
            (choice.of(&OPENINGS), choice.of(&MIDDLES), choice.of(&ENDINGS));
        let text = format!("{opening}, {middle} {ending} (no. {number})");
        // A third goes to groups, the rest from one person to another, now and then to oneself.
        let (from, to) = if choice.below(3) == 0 {
            let (group, members) = choice.of(&GROUPS);
            (choice.of(members), group)
        } else {
            (choice.of(&PEOPLE), choice.of(&PEOPLE))
        };
        builder.add(from, to, &text).expect("the names are valid");
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_speaks_and_every_kind_of_message_occurs() {
        let script = script();
        assert_eq!(script.messages.len(), MESSAGES);
        assert_eq!(script.people.len(), PEOPLE.len());
        assert_eq!(script.groups.len(), GROUPS.len());
        let is_note = |message: &crate::demo::script::Message| {
            message.to == crate::demo::script::Target::Person(message.from)
        };
        assert!(script.messages.iter().any(is_note));
    }
}
