//! Who was a member of a group at an earlier position.

use wire::{Seq, UserId, entity::Membership, item::Verdict};

/// The members at `position`, ordered by user, when `sender` is one of them; else why not.
pub(crate) fn members_at(
    memberships: &[(UserId, Membership)],
    sender: UserId,
    position: Seq,
) -> Result<Vec<UserId>, Verdict> {
    let included = memberships.iter().filter(|(_, membership)| membership.includes(position));
    let mut members: Vec<UserId> = included.map(|(user, _)| *user).collect();
    members.sort_unstable();
    members.dedup();
    if members.binary_search(&sender).is_ok() {
        return Ok(members);
    }
    // Somebody joined at the creation.
    let created = memberships.iter().any(|(_, membership)| membership.joined < position);
    Err(if created { Verdict::NotAMember } else { Verdict::NoSuchGroup })
}
