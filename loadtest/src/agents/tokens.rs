//! Tokens for the users of agents, signed by the coordinator.

use std::{ops::Range, time::Duration};

use super::{message::Order, seat::Seat};
use crate::{
    clock::wall_clock_ms,
    cluster::Minter,
    driver::posthorn::user_name,
    population::{DeviceIndex, Population},
};

/// Tokens of so many users travel together: about 150 KiB.
const AT_ONCE: usize = 400;
/// New ones are given so often. They are good for an hour.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(20 * 60);

/// Gives an agent tokens for those it plays.
///
/// # Errors
/// When the agent is gone.
pub(super) async fn give(
    seat: &Seat,
    minter: &Minter,
    population: &Population,
    devices: Range<DeviceIndex>,
    run: u64,
) -> anyhow::Result<()> {
    let mut tokens = Vec::with_capacity(AT_ONCE);
    for user in population.users() {
        let first = population.devices_of(user).next();
        if first.is_some_and(|first| devices.contains(&first)) {
            let name = user_name(run, user);
            let token = minter.mint(&name, wall_clock_ms());
            tokens.push((name, token));
        }
        if tokens.len() == AT_ONCE {
            seat.ask(Order::Tokens(std::mem::take(&mut tokens)), &[]).await?;
        }
    }
    seat.ask(Order::Tokens(tokens), &[]).await?;
    Ok(())
}
