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
#[path = "decide_tests.rs"]
mod tests;
