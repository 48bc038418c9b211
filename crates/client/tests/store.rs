//! The file store: what was committed is there, what was torn is not, and nothing else.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use bytes::Bytes;
use client::{
    Address, Body, DeviceId, MessageId, SendId, Seq, UserId,
    store::{FileStore, MemoryStore, Store, StoreError},
};
use session::client::{Restored, StoreChange};
use wire::{Counter, RunId, client_frame::Send};

fn to(number: u64) -> Address {
    Address::User(UserId::from_bytes([u8::try_from(number % 3).unwrap(); 16]))
}

fn id(number: u64) -> SendId {
    SendId { run: RunId::new(7), counter: Counter::new(number) }
}

fn queued(number: u64) -> StoreChange {
    let body = Body::Message(Bytes::from(format!("payload {number}")));
    StoreChange::Queued(Send { id: id(number), to: to(number), previous: None, ttl_s: 9, body })
}

fn processed(number: u64) -> StoreChange {
    let (user, device) = (UserId::from_bytes([8; 16]), DeviceId::from_bytes([8; 8]));
    let message = MessageId { user, device, send: id(number) };
    StoreChange::Processed(message, to(number), [1; 16])
}

fn commits() -> Vec<Vec<StoreChange>> {
    vec![
        vec![StoreChange::User(UserId::from_bytes([1; 16]))],
        vec![queued(1), queued(2), queued(3)],
        vec![StoreChange::Accepted(id(1), to(1)), StoreChange::Rejected(id(2))],
        vec![StoreChange::ProcessedAhead(Seq::from_u64(9))],
        vec![processed(1), processed(2), StoreChange::Cursor(Seq::from_u64(5))],
        vec![queued(4)],
    ]
}

fn states() -> Vec<Restored> {
    let mut state = Restored::default();
    let mut states = vec![state.clone()];
    for commit in commits() {
        commit.into_iter().for_each(|change| state.apply(change));
        states.push(state.clone());
    }
    states
}

fn restored(folder: &Path) -> Restored {
    FileStore::open(folder).unwrap().load().unwrap().restored
}

#[test]
fn a_journal_cut_at_any_byte_holds_every_whole_commit_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let store = FileStore::open(folder.path()).unwrap();
    let mut ends = vec![fs::metadata(&journal).unwrap().len()];
    for commit in commits() {
        store.commit(commit).unwrap();
        ends.push(fs::metadata(&journal).unwrap().len());
    }
    drop(store);
    let bytes = fs::read(&journal).unwrap();
    let states = states();
    let beginning = usize::try_from(ends[0]).unwrap();
    for len in beginning..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= len as u64).count() - 1;
        // Cut short, and as long as it was but with the rest never written.
        let cut = bytes[..len].to_vec();
        let mut zeros = cut.clone();
        zeros.resize(bytes.len(), 0);
        let is_last = ends[ends.len() - 2] <= len as u64;
        for torn in std::iter::once(cut).chain(is_last.then_some(zeros)) {
            fs::write(&journal, torn).unwrap();
            let store = FileStore::open(folder.path()).unwrap();
            assert_eq!(store.load().unwrap().restored, states[whole], "at byte {len}");
            store.commit(vec![queued(99)]).unwrap();
            drop(store);
            let mut wanted = states[whole].clone();
            wanted.apply(queued(99));
            assert_eq!(restored(folder.path()), wanted);
        }
    }
}

#[test]
fn damage_in_the_middle_is_an_error_and_not_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let store = FileStore::open(folder.path()).unwrap();
    commits().into_iter().for_each(|commit| store.commit(commit).unwrap());
    drop(store);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[30] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let damaged = FileStore::open(folder.path());
    assert!(matches!(damaged, Err(StoreError::Corrupt { .. })), "{damaged:?}");
}

#[test]
fn a_long_journal_is_rewritten_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (store, memory) = (FileStore::open(folder.path()).unwrap(), MemoryStore::new());
    let journal = folder.path().join("journal");
    let mut longest = 0;
    for round in 0..40 {
        let mut changes = Vec::new();
        for number in 1..1000 {
            let number = round * 1000 + number;
            changes.push(queued(number));
            changes.push(StoreChange::Accepted(id(number), to(number)));
            changes.push(processed(number));
        }
        changes.push(StoreChange::Cursor(Seq::from_u64(round)));
        store.commit(changes.clone()).unwrap();
        memory.commit(changes).unwrap();
        longest = longest.max(fs::metadata(&journal).unwrap().len());
    }
    assert!(longest < 2 * 1024 * 1024, "{longest}");
    drop(store);
    let (file, memory) = (restored(folder.path()), memory.load().unwrap().restored);
    assert!(file.to_changes().eq(memory.to_changes()), "the same state");
}

#[test]
fn an_interrupted_rewrite_leaves_the_old_journal() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    commits().into_iter().for_each(|commit| store.commit(commit).unwrap());
    drop(store);
    fs::write(folder.path().join("journal.new"), b"phjrnl half of it").unwrap();
    assert_eq!(restored(folder.path()), states().pop().unwrap());
}

#[test]
fn one_process_at_a_time_the_same_key_and_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileStore::open(folder.path()).unwrap();
    let device = store.load().unwrap().key.device();
    let second = FileStore::open(folder.path());
    assert!(matches!(second, Err(StoreError::InUse(_))), "{second:?}");
    drop(store);
    assert_eq!(FileStore::open(folder.path()).unwrap().load().unwrap().key.device(), device);
    for name in ["device.key", "journal"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
