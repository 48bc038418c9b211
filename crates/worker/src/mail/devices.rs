//! What happens to a user's devices when a change is asked for: the decision, without any store.

use wire::{
    Seq, UserId,
    entity::{Device, Devices},
    item::{DeviceChange, Verdict},
    limits::{DEVICES_MAX, DEVICES_REMEMBERED_MAX},
};

/// Devices from which on a sender gets a copy of what it sends: the sending one and another.
const COPY_FROM_DEVICES: usize = 2;

/// What was decided about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// Users who are told that it happened.
    pub(crate) told: Vec<UserId>,
    /// The devices after it.
    pub(crate) devices: Devices,
}

/// Decides about a change of the devices of `user` at a position.
///
/// A known key is registered already: that is *Done* again, changes nothing and tells nobody. To
/// revoke a revoked device is *Done* again too, and is told, because a client waits for its Result.
pub(crate) fn decide(
    user: UserId,
    devices: &Devices,
    change: &DeviceChange,
    position: Seq,
    log_time_ms: u64,
) -> Outcome {
    let mut devices = devices.clone();
    let (verdict, told) = match change {
        DeviceChange::Register { device_key, agent } => {
            let device = Device {
                device_key: *device_key,
                agent: agent.clone(),
                registered: position,
                registered_ms: log_time_ms,
                revoked: None,
            };
            register(&mut devices, device)
        }
        DeviceChange::Revoke(id) => match devices.0.iter_mut().find(|device| device.id() == *id) {
            Some(device) => {
                device.revoked.get_or_insert(position);
                (Verdict::Done, true)
            }
            None => (Verdict::NoSuchDevice, false),
        },
    };
    let told = if told { vec![user] } else { Vec::new() };
    Outcome { verdict, told, devices }
}

/// The verdict, and whether anything changed.
fn register(devices: &mut Devices, device: Device) -> (Verdict, bool) {
    if let Some(known) = devices.0.iter().find(|known| known.device_key == device.device_key) {
        let revoked = known.revoked.is_some();
        return (if revoked { Verdict::DeviceRevoked } else { Verdict::Done }, false);
    }
    if devices.get(device.id()).is_some() || devices.active().count() >= DEVICES_MAX {
        // Another key with the same id would be an attack on the hash: there is no room for it.
        return (Verdict::TooManyDevices, false);
    }
    if devices.0.len() >= DEVICES_REMEMBERED_MAX {
        // Not the very first one: a device that came after it must not be taken for it, which
        // reads the mailbox from the start.
        let oldest = devices
            .0
            .iter()
            .enumerate()
            .skip(1)
            .filter_map(|(index, known)| known.revoked.map(|revoked| (revoked, index)));
        let (_, index) = oldest.min().expect("more are remembered than may be active");
        devices.0.remove(index);
    }
    devices.0.push(device);
    (Verdict::Done, true)
}

/// Whether a message sent at `position` has another device of its sender to go to.
pub(crate) fn has_copy(devices: &Devices, position: Seq) -> bool {
    let active = devices.0.iter().filter(|device| {
        device.registered < position && device.revoked.is_none_or(|revoked| position < revoked)
    });
    active.take(COPY_FROM_DEVICES).count() == COPY_FROM_DEVICES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{DeviceId, auth};

    use super::*;

    const USER: UserId = UserId::from_bytes([7; 16]);

    fn key(number: u8) -> [u8; 32] {
        [number; 32]
    }

    fn register_key(number: u8) -> DeviceChange {
        DeviceChange::Register { device_key: key(number), agent: "test".to_owned() }
    }

    fn revoke_key(number: u8) -> DeviceChange {
        DeviceChange::Revoke(auth::device_id(&key(number)))
    }

    fn run(changes: &[DeviceChange]) -> (Devices, Vec<(Verdict, bool)>) {
        let mut devices = Devices::default();
        let mut verdicts = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let at = at as u64 + 1;
            let outcome = decide(USER, &devices, change, Seq::from_u64(at), at * 1000);
            verdicts.push((outcome.verdict, !outcome.told.is_empty()));
            devices = outcome.devices;
        }
        (devices, verdicts)
    }

    #[test]
    fn the_first_device_is_registered_where_it_asked() {
        let (devices, verdicts) = run(&[register_key(1)]);
        assert_eq!(verdicts, [(Verdict::Done, true)]);
        assert_eq!(devices.0[0].registered, Seq::from_u64(1));
        assert_eq!(devices.0[0].registered_ms, 1000);
    }

    #[test]
    fn a_known_key_is_done_again_and_changes_nothing() {
        let (once, _) = run(&[register_key(1)]);
        let (twice, verdicts) = run(&[register_key(1), register_key(1)]);
        assert_eq!(once, twice);
        assert_eq!(verdicts[1], (Verdict::Done, false));
    }

    #[test]
    fn a_revoked_device_does_not_come_back() {
        let changes = [register_key(1), revoke_key(1), register_key(1), revoke_key(1)];
        let (devices, verdicts) = run(&changes);
        assert_eq!(verdicts[1], (Verdict::Done, true));
        assert_eq!(verdicts[2], (Verdict::DeviceRevoked, false));
        assert_eq!(verdicts[3], (Verdict::Done, true));
        assert_eq!(devices.0[0].revoked, Some(Seq::from_u64(2)));
    }

    #[test]
    fn a_device_nobody_knows_cannot_be_revoked() {
        assert_eq!(run(&[revoke_key(1)]).1, [(Verdict::NoSuchDevice, false)]);
    }

    #[test]
    fn ten_devices_are_enough_and_a_revoked_one_makes_room() {
        let mut changes: Vec<_> = (0..11).map(register_key).collect();
        changes.extend([revoke_key(3), register_key(10), register_key(11)]);
        let (devices, verdicts) = run(&changes);
        assert_eq!(verdicts[9], (Verdict::Done, true));
        assert_eq!(verdicts[10], (Verdict::TooManyDevices, false));
        assert_eq!(verdicts[12], (Verdict::Done, true));
        assert_eq!(verdicts[13], (Verdict::TooManyDevices, false));
        assert_eq!(devices.active().count(), DEVICES_MAX);
    }

    #[test]
    fn the_oldest_revoked_device_is_forgotten_when_too_many_are_remembered() {
        let mut changes = vec![register_key(200)];
        for number in 0..70 {
            changes.extend([register_key(number), revoke_key(number)]);
        }
        let (devices, verdicts) = run(&changes);
        assert!(verdicts.iter().all(|(verdict, _)| *verdict == Verdict::Done));
        assert_eq!(devices.0.len(), DEVICES_REMEMBERED_MAX);
        assert_eq!(devices.0[0].device_key, key(200));
        assert_eq!(devices.0[1].device_key, key(7));
    }

    #[test]
    fn the_first_device_of_a_user_is_never_forgotten() {
        let more = u8::try_from(2 * DEVICES_REMEMBERED_MAX).expect("128 is a byte");
        let changes: Vec<_> =
            (0..more).flat_map(|number| [register_key(number), revoke_key(number)]).collect();
        let (devices, _) = run(&changes);
        assert_eq!(devices.0.len(), DEVICES_REMEMBERED_MAX);
        assert_eq!(devices.0[0].device_key, key(0));
        assert_eq!(devices.0[1].device_key, key(more - 63));
    }

    #[test]
    fn a_sender_has_a_copy_between_the_second_registration_and_a_revocation() {
        let (devices, _) = run(&[register_key(1), register_key(2), revoke_key(1)]);
        let has = |at| has_copy(&devices, Seq::from_u64(at));
        assert_eq!([1, 2, 3, 4].map(has), [false, false, false, false]);
        // Positions between the changes: spread them.
        let mut spread = devices;
        for (index, device) in spread.0.iter_mut().enumerate() {
            device.registered = Seq::from_u64(10 * (index as u64 + 1));
        }
        spread.0[0].revoked = Some(Seq::from_u64(30));
        let has = |at| has_copy(&spread, Seq::from_u64(at));
        assert_eq!([15, 20, 21, 29, 30, 31].map(has), [false, false, true, true, false, false]);
    }

    fn any_change() -> impl Strategy<Value = DeviceChange> {
        (0_u8..100, any::<bool>()).prop_map(|(number, revoke)| {
            if revoke { revoke_key(number) } else { register_key(number) }
        })
    }

    proptest! {
        #[test]
        fn limits_hold_and_nothing_revoked_is_active(
            changes in prop::collection::vec(any_change(), 0..400),
        ) {
            let (devices, verdicts) = run(&changes);
            prop_assert!(devices.active().count() <= DEVICES_MAX);
            prop_assert!(devices.0.len() <= DEVICES_REMEMBERED_MAX);
            let mut ids: Vec<DeviceId> = devices.0.iter().map(Device::id).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), devices.0.len());
            prop_assert_eq!(Devices::decode(devices.encode()), Ok(devices.clone()));
            for (at, (change, (verdict, told))) in changes.iter().zip(verdicts).enumerate() {
                prop_assert!(verdict == Verdict::Done || !told);
                let revoked = devices.0.iter().find(|device| device.revoked.is_some()
                    && device.revoked < Some(Seq::from_u64(at as u64 + 1)));
                if let (Some(device), DeviceChange::Register { device_key, .. }) = (revoked, change)
                    && device.device_key == *device_key
                {
                    prop_assert_eq!(verdict, Verdict::DeviceRevoked);
                }
            }
        }
    }
}
