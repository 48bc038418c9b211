//! One answer to a message that was published in parts.

use std::collections::HashMap;

use super::Outcome;

/// The messages of a device of which some parts were answered and others not.
///
/// A message is accepted when all its parts are, rejected when none is, and otherwise unknown: some
/// of its recipients get it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// By ticket. Messages of one part are never here.
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    missing: u8,
    so_far: Outcome,
}

impl Answers {
    /// One part of a message of `parts` was answered; gives the answer to the message when it was
    /// the last.
    pub(super) fn part(&mut self, ticket: u64, parts: u8, outcome: Outcome) -> Option<Outcome> {
        assert!(parts > 0, "a message has a part");
        let (missing, outcome) = match self.open.remove(&ticket) {
            None => (parts - 1, outcome),
            Some(open) => (open.missing - 1, both(open.so_far, outcome)),
        };
        if missing == 0 {
            return Some(outcome);
        }
        self.open.insert(ticket, Open { missing, so_far: outcome });
        None
    }
}

fn both(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Accepted, Outcome::Accepted) => Outcome::Accepted,
        (Outcome::Rejected(why), Outcome::Rejected(_)) => Outcome::Rejected(why),
        (Outcome::Accepted | Outcome::Rejected(_) | Outcome::Unknown, _) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcomes: &[Outcome], expected: &Outcome) {
        let mut answers = Answers::default();
        let parts = u8::try_from(outcomes.len()).expect("few");
        let told: Vec<_> =
            outcomes.iter().map(|outcome| answers.part(7, parts, outcome.clone())).collect();
        let (last, before) = told.split_last().expect("at least one part");
        assert_eq!(last.as_ref(), Some(expected));
        assert!(before.iter().all(Option::is_none), "answered before the last part");
        assert!(answers.open.is_empty());
    }

    fn rejected() -> Outcome {
        Outcome::Rejected("no room".to_owned())
    }

    #[test]
    fn a_message_of_one_part_has_its_answer() {
        check(&[Outcome::Accepted], &Outcome::Accepted);
        check(&[rejected()], &rejected());
        check(&[Outcome::Unknown], &Outcome::Unknown);
    }

    #[test]
    fn two_parts_that_agree_are_one_answer() {
        check(&[Outcome::Accepted, Outcome::Accepted], &Outcome::Accepted);
        check(&[rejected(), rejected()], &rejected());
    }

    #[test]
    fn parts_that_differ_leave_it_unknown() {
        check(&[Outcome::Accepted, rejected()], &Outcome::Unknown);
        check(&[Outcome::Unknown, Outcome::Accepted], &Outcome::Unknown);
        check(&[rejected(), Outcome::Unknown], &Outcome::Unknown);
    }
}
