//! Makes the groups of a run.

use std::{ops::Range, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use client::{ChangeError, Client, GroupChange, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::{Ground, kept::Lease};
use crate::population::{ConversationIndex, DeviceIndex};

/// Groups that are made at the same time.
const AT_ONCE: usize = 32;
/// A group is made within this.
const MADE_WITHIN: Duration = Duration::from_secs(60);

/// Makes every group whose first member is among these devices, each by a device of that member.
pub(super) async fn groups(
    ground: &Arc<Ground>,
    devices: Range<DeviceIndex>,
) -> anyhow::Result<()> {
    let population = &ground.population;
    let is_ours = |group: &ConversationIndex| {
        let first = population.members(*group).first();
        let device = first.and_then(|user| population.devices_of(*user).next());
        device.is_some_and(|device| devices.contains(&device))
    };
    let groups: Vec<ConversationIndex> = population.groups().filter(is_ours).collect();
    stream::iter(groups)
        .map(|conversation| async move {
            let made = timeout(MADE_WITHIN, group(ground, conversation)).await;
            made.unwrap_or_else(|_| Err(anyhow!("not made within {MADE_WITHIN:?}")))
                .with_context(|| format!("make the group of conversation {conversation}"))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn group(ground: &Arc<Ground>, conversation: ConversationIndex) -> anyhow::Result<()> {
    let members = ground.population.members(conversation);
    let Some((first, others)) = members.split_first() else { bail!("it has no members") };
    let others: Vec<UserId> = others.iter().map(|user| ground.users[user.place()]).collect();
    let create = GroupChange::Create(others);
    let group = ground.settings.group(conversation);
    let connected = ground.population.devices_of(*first).find_map(|d| ground.kept(d).client());
    let made = match connected {
        Some(client) => client.change_group(group, create).await,
        None => {
            let device = ground.population.devices_of(*first).next().context("nobody is there")?;
            let (client, _lease) = briefly(ground, device).await?;
            let made = client.change_group(group, create).await;
            client.close().await;
            made
        }
    };
    made.map_err(|error: ChangeError| anyhow!(error))
}

/// Connects a device that is away, for as long as a group takes to be made. What waits for it is
/// not looked at.
async fn briefly(ground: &Arc<Ground>, device: DeviceIndex) -> anyhow::Result<(Client, Lease)> {
    let lease = Lease::take(Arc::clone(ground), device)?;
    let store = ground.kept(device).store();
    let client = Client::connect(ground.config(device, store)?).await?;
    Ok((client, lease))
}
