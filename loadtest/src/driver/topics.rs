//! Where messages go on a server that knows topics and no conversations.

use crate::population::{Conversation, ConversationIndex, DeviceIndex, Population, UserIndex};

/// What devices listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The inbox of a user: all of the user's devices listen to it.
    User(UserIndex),
    /// A group: all devices of all members listen to it.
    Group(ConversationIndex),
}

/// Where a device publishes a message of a conversation; in one or two parts.
///
/// A message to one user goes to that user's inbox and, when the sender has other devices, to the
/// sender's own as well: such a server does not copy it there by itself. One to a group is
/// published once.
pub(super) fn parts(
    population: &Population,
    from: DeviceIndex,
    conversation: ConversationIndex,
) -> (Topic, Option<Topic>) {
    match population.conversation(conversation) {
        Conversation::Group { .. } => (Topic::Group(conversation), None),
        Conversation::Direct { a, b } => {
            let sender = population.user_of(from);
            let peer = if sender == a { b } else { a };
            let has_others = population.devices_of(sender).len() > 1;
            (Topic::User(peer), has_others.then_some(Topic::User(sender)))
        }
    }
}

/// What a device listens to.
pub(super) fn of(population: &Population, device: DeviceIndex) -> impl Iterator<Item = Topic> {
    let user = population.user_of(device);
    let groups = population.groups_of(user).iter().copied().map(Topic::Group);
    std::iter::once(Topic::User(user)).chain(groups)
}
