//! What happens to a group when a change is asked for: the decision, without any store.

use std::collections::BTreeMap;

use wire::{
    Seq, UserId,
    entity::{Member, Membership, Roster},
    item::{GroupChange, Role, Verdict},
    limits::GROUP_MEMBERS_MAX,
};

/// What was decided about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The members before and after it, ordered by user; empty for a refusal.
    pub(crate) told: Vec<UserId>,
    /// The roster after it; none when there is no group.
    pub(crate) roster: Option<Roster>,
    /// Memberships that began or ended.
    pub(crate) memberships: Vec<(UserId, Membership)>,
}

type Members = BTreeMap<UserId, Member>;

/// Decides about a change that `sender` asks for at a position.
///
/// A list that names someone twice names them once. A group that everybody left stays, without
/// members: its id is not free again. A change that leaves everything as it is, is *Done*.
pub(crate) fn decide(
    roster: Option<&Roster>,
    sender: UserId,
    change: &GroupChange,
    position: Seq,
    log_time_ms: u64,
) -> Outcome {
    match apply(roster, sender, change, position) {
        Err(verdict) => {
            Outcome { verdict, told: Vec::new(), roster: roster.cloned(), memberships: Vec::new() }
        }
        Ok(after) => {
            let before = roster.map_or(&[][..], |roster| &roster.0);
            let mut told: Vec<UserId> =
                before.iter().map(|member| member.user).chain(after.keys().copied()).collect();
            told.sort_unstable();
            told.dedup();
            Outcome {
                verdict: Verdict::Done,
                told,
                memberships: memberships(before, &after, position, log_time_ms),
                roster: Some(Roster(after.into_values().collect())),
            }
        }
    }
}

/// The members after the change, or why it does not happen.
fn apply(
    roster: Option<&Roster>,
    sender: UserId,
    change: &GroupChange,
    position: Seq,
) -> Result<Members, Verdict> {
    let join = |user: UserId, role: Role| (user, Member { user, role, joined: position });
    if let GroupChange::Create(users) = change {
        if roster.is_some() {
            return Err(Verdict::GroupExists);
        }
        let mut members: Members = users.iter().map(|user| join(*user, Role::Member)).collect();
        members.extend([join(sender, Role::Admin)]);
        return limited(members);
    }
    let roster = roster.ok_or(Verdict::NoSuchGroup)?;
    let asking = roster.get(sender).ok_or(Verdict::NotAMember)?;
    let mut members: Members = roster.0.iter().map(|member| (member.user, *member)).collect();
    let admin = if asking.role == Role::Admin { Ok(()) } else { Err(Verdict::NotAnAdmin) };
    match change {
        GroupChange::Create(_) => unreachable!("a creation was handled above"),
        GroupChange::Add(users) => {
            admin?;
            if users.iter().any(|user| members.contains_key(user)) {
                return Err(Verdict::AlreadyAMember);
            }
            members.extend(users.iter().map(|user| join(*user, Role::Member)));
        }
        GroupChange::Remove(users) => {
            admin?;
            if users.iter().any(|user| !members.contains_key(user)) {
                return Err(Verdict::NoSuchMember);
            }
            members.retain(|user, _| !users.contains(user));
        }
        GroupChange::Leave => members.retain(|user, _| *user != sender),
        GroupChange::SetRole(user, role) => {
            admin?;
            members.get_mut(user).ok_or(Verdict::NoSuchMember)?.role = *role;
        }
    }
    if !members.is_empty() && members.values().all(|member| member.role != Role::Admin) {
        return Err(Verdict::LastAdmin);
    }
    limited(members)
}

fn limited(members: Members) -> Result<Members, Verdict> {
    if members.len() > GROUP_MEMBERS_MAX { Err(Verdict::GroupFull) } else { Ok(members) }
}

/// What began and what ended between the two.
fn memberships(
    before: &[Member],
    after: &Members,
    position: Seq,
    log_time_ms: u64,
) -> Vec<(UserId, Membership)> {
    let ended = before.iter().filter(|member| !after.contains_key(&member.user)).map(|member| {
        let ended = Some((position, log_time_ms));
        (member.user, Membership { joined: member.joined, ended })
    });
    let began = after.values().filter(|member| member.joined == position);
    let began = began.map(|member| (member.user, Membership { joined: position, ended: None }));
    ended.chain(began).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::group::history::members_at;

    fn user(number: u16) -> UserId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        UserId::from_bytes(bytes)
    }

    fn users(numbers: impl IntoIterator<Item = u16>) -> Vec<UserId> {
        numbers.into_iter().map(user).collect()
    }

    fn create(numbers: impl IntoIterator<Item = u16>) -> GroupChange {
        GroupChange::Create(users(numbers))
    }

    fn add(numbers: impl IntoIterator<Item = u16>) -> GroupChange {
        GroupChange::Add(users(numbers))
    }

    fn remove(numbers: impl IntoIterator<Item = u16>) -> GroupChange {
        GroupChange::Remove(users(numbers))
    }

    fn set_role(number: u16, role: Role) -> GroupChange {
        GroupChange::SetRole(user(number), role)
    }

    /// The last of some changes, asked for at positions 1, 2, 3 and so on.
    fn last(changes: &[(u16, GroupChange)]) -> Outcome {
        let mut outcome = None::<Outcome>;
        for (position, (sender, change)) in (1..).zip(changes) {
            let roster = outcome.and_then(|outcome| outcome.roster);
            let position = Seq::from_u64(position);
            outcome = Some(decide(roster.as_ref(), user(*sender), change, position, 5));
        }
        outcome.expect("there is a change")
    }

    #[track_caller]
    fn check(changes: &[(u16, GroupChange)], verdict: Verdict) -> Outcome {
        let outcome = last(changes);
        assert_eq!(outcome.verdict, verdict);
        if verdict != Verdict::Done {
            assert_eq!((&outcome.told, &outcome.memberships), (&vec![], &vec![]));
            assert_eq!(
                outcome.roster,
                changes.split_last().and_then(|(_, before)| {
                    if before.is_empty() { None } else { last(before).roster }
                })
            );
        }
        outcome
    }

    #[test]
    fn a_group_begins_with_its_creator_as_the_admin() {
        let outcome = check(&[(1, create([2, 3, 2, 1]))], Verdict::Done);
        let roles: Vec<_> =
            outcome.roster.unwrap().0.iter().map(|member| (member.user, member.role)).collect();
        let (admin, member) = (Role::Admin, Role::Member);
        assert_eq!(roles, [(user(1), admin), (user(2), member), (user(3), member)]);
        assert_eq!(outcome.told, users([1, 2, 3]));
    }

    #[test]
    fn a_group_begins_once() {
        check(&[(1, create([2])), (1, create([2]))], Verdict::GroupExists);
        check(&[(1, create([])), (1, GroupChange::Leave), (1, create([2]))], Verdict::GroupExists);
    }

    #[test]
    fn without_a_group_there_is_nothing_to_change() {
        for change in [add([2]), remove([2]), GroupChange::Leave, set_role(1, Role::Admin)] {
            check(&[(1, change)], Verdict::NoSuchGroup);
        }
    }

    #[test]
    fn only_members_ask_and_only_admins_change_others() {
        for change in [add([5]), remove([2]), set_role(2, Role::Admin)] {
            check(&[(1, create([2])), (9, change.clone())], Verdict::NotAMember);
            check(&[(1, create([2])), (2, change)], Verdict::NotAnAdmin);
        }
        check(&[(1, create([2])), (9, GroupChange::Leave)], Verdict::NotAMember);
        check(&[(1, create([2])), (2, GroupChange::Leave)], Verdict::Done);
    }

    #[test]
    fn who_is_there_is_not_added_and_who_is_not_there_is_not_removed() {
        check(&[(1, create([2])), (1, add([3, 2]))], Verdict::AlreadyAMember);
        check(&[(1, create([2])), (1, remove([2, 3]))], Verdict::NoSuchMember);
        check(&[(1, create([2])), (1, set_role(3, Role::Admin))], Verdict::NoSuchMember);
    }

    #[test]
    fn the_last_admin_stays_while_others_are_there() {
        let leave = || GroupChange::Leave;
        check(&[(1, create([2])), (1, leave())], Verdict::LastAdmin);
        check(&[(1, create([2])), (1, set_role(1, Role::Member))], Verdict::LastAdmin);
        check(&[(1, create([2])), (1, remove([1]))], Verdict::LastAdmin);
        check(&[(1, create([2])), (1, remove([1, 2]))], Verdict::Done);
        check(&[(1, create([])), (1, leave())], Verdict::Done);
        check(&[(1, create([2])), (1, set_role(2, Role::Admin)), (1, leave())], Verdict::Done);
    }

    #[test]
    fn five_hundred_and_twelve_are_the_most() {
        check(&[(0, create(1..512))], Verdict::Done);
        check(&[(0, create(1..513))], Verdict::GroupFull);
        check(&[(0, create(1..512)), (0, add([600]))], Verdict::GroupFull);
        check(&[(0, create(1..512)), (0, remove([7])), (0, add([600]))], Verdict::Done);
        check(&[(0, create(1..511)), (0, add([600, 600]))], Verdict::Done);
    }

    #[test]
    fn those_who_go_and_those_who_come_are_told() {
        assert_eq!(last(&[(1, create([2, 3])), (1, remove([2]))]).told, users([1, 2, 3]));
        assert_eq!(last(&[(1, create([2, 3])), (1, add([4]))]).told, users([1, 2, 3, 4]));
        assert_eq!(last(&[(1, create([2, 3])), (3, GroupChange::Leave)]).told, users([1, 2, 3]));
    }

    #[test]
    fn a_second_membership_is_another_one() {
        let changes = [(1, create([2])), (1, remove([2])), (1, add([2]))];
        let (one, two, three) = (Seq::from_u64(1), Seq::from_u64(2), Seq::from_u64(3));
        let ended = Membership { joined: one, ended: Some((two, 5)) };
        assert_eq!(last(&changes[..2]).memberships, [(user(2), ended)]);
        let again = Membership { joined: three, ended: None };
        assert_eq!(last(&changes).memberships, [(user(2), again)]);
    }

    /// What is asked for, by whom; none stands for a message.
    fn any_event() -> impl Strategy<Value = (u16, Option<GroupChange>)> {
        let who = || prop::collection::vec(0_u16..6, 0..4);
        let change = prop_oneof![
            1 => who().prop_map(create),
            3 => who().prop_map(add),
            3 => who().prop_map(remove),
            2 => Just(GroupChange::Leave),
            2 => (0_u16..6, any::<bool>()).prop_map(|(user, admin)| {
                set_role(user, if admin { Role::Admin } else { Role::Member })
            }),
        ];
        (0_u16..6, prop::option::of(change))
    }

    /// Members and admins as plain sets, without positions; returns whether the change happens.
    fn naive(
        group: &mut Option<(BTreeSet<UserId>, BTreeSet<UserId>)>,
        sender: UserId,
        change: &GroupChange,
    ) -> bool {
        if let GroupChange::Create(named) = change {
            let may = group.is_none();
            if may {
                let members = named.iter().copied().chain([sender]).collect();
                *group = Some((members, BTreeSet::from([sender])));
            }
            return may;
        }
        let Some((members, admins)) = group else { return false };
        let (mut after, mut after_admins) = (members.clone(), admins.clone());
        let may = match change {
            GroupChange::Create(_) => false,
            GroupChange::Add(named) => {
                after.extend(named);
                admins.contains(&sender) && named.iter().all(|user| !members.contains(user))
            }
            GroupChange::Remove(named) => {
                after.retain(|user| !named.contains(user));
                admins.contains(&sender) && named.iter().all(|user| members.contains(user))
            }
            GroupChange::Leave => after.remove(&sender),
            GroupChange::SetRole(user, role) => {
                match role {
                    Role::Admin => after_admins.insert(*user),
                    Role::Member => after_admins.remove(user),
                };
                admins.contains(&sender) && members.contains(user)
            }
        };
        after_admins.retain(|user| after.contains(user));
        if may && (after.is_empty() || !after_admins.is_empty()) {
            *group = Some((after, after_admins));
            return true;
        }
        false
    }

    proptest! {
        /// At every position, live and from the memberships after any later position, exactly those
        /// get a message who are members in the naive model.
        #[test]
        fn who_was_a_member_at_a_position_gets_it_and_nobody_else(
            events in prop::collection::vec(any_event(), 1..60),
        ) {
            let mut roster = None::<Roster>;
            let mut model = None;
            let mut rows = BTreeMap::<(UserId, Seq), Membership>::new();
            let mut sent = Vec::new();
            for (at, (sender, change)) in (1..).zip(&events) {
                let (position, sender) = (Seq::from_u64(at), user(*sender));
                if let Some(change) = change {
                    let outcome = decide(roster.as_ref(), sender, change, position, at);
                    let happens = naive(&mut model, sender, change);
                    prop_assert_eq!(outcome.verdict == Verdict::Done, happens);
                    roster = outcome.roster;
                    for (user, membership) in outcome.memberships {
                        rows.insert((user, membership.joined), membership);
                    }
                } else {
                    let members = model.as_ref().map(|(members, _)| members.clone());
                    sent.push((position, sender, members.unwrap_or_default(), model.is_some()));
                }
                let live: Vec<UserId> =
                    roster.iter().flat_map(|roster| &roster.0).map(|member| member.user).collect();
                let naive: Vec<UserId> =
                    model.iter().flat_map(|(members, _)| members.iter().copied()).collect();
                prop_assert_eq!(live, naive);
                if let Some(roster) = &roster {
                    prop_assert_eq!(Roster::decode(roster.encode()), Ok(roster.clone()));
                }
                let memberships: Vec<_> =
                    rows.iter().map(|((user, _), membership)| (*user, *membership)).collect();
                for (position, sender, members, existed) in &sent {
                    let expected = if members.contains(sender) {
                        Ok(members.iter().copied().collect())
                    } else {
                        Err(if *existed { Verdict::NotAMember } else { Verdict::NoSuchGroup })
                    };
                    prop_assert_eq!(members_at(&memberships, *sender, *position), expected);
                }
            }
        }
    }
}
