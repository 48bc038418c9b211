//! Functions everybody must compute alike give the values `docs/protocol.md` prints.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use wire::{
    Address, Counter, DeviceId, Epoch, GroupId, MessageId, Offset, RunId, SendId, Seq, UserId,
    auth::{self, Signed},
    limits,
    shard::{VShard, partition_of},
};

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");
const ISSUER: &str = "https://id.example";
const DEVICE_KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const DEVICE: &str = "56475aa75463474c";
const SIGNED: &str = "706f7374686f726e2f31206465766963652061757468656e7469636174696f6e00\
                      00000001\
                      202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
                      256d04db4e5e4ac308751ed0885b722b758630567c53a7125ed9fbd068e5c3f6\
                      56475aa75463474c\
                      404142434445464748494a4b4c4d4e4f";
const SIGNATURE: &str = "8a57a951dd418225d370ccfd8a04b39e759fdeaac086ecdb42a7d22e2e89ce35\
                         c0eda5d0fb28c26ae975637b9096e1312679ec1e26f8bbccafae1b767a903302";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `first`, and the numbers after it.
fn counting<const LEN: usize>(first: u8) -> [u8; LEN] {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

/// The value is computed, and the document prints it on one line, spaces aside.
fn check(computed: &str, expected: &str) {
    assert_eq!(computed, expected);
    let is_printed = PROTOCOL.lines().any(|line| line.replace(' ', "").contains(expected));
    assert!(is_printed, "docs/protocol.md does not print {expected}");
}

#[test]
fn user_ids_are_made_of_issuer_and_subject() {
    let user = |issuer, subject| auth::user_id(issuer, subject).to_string();
    check(&user(ISSUER, "alice"), "dd20e5cec19cbf20ab08ddb41a01217a");
    check(&user(ISSUER, "bob"), "ff2ee4d8ef06d030636d41abe9463abf");
    check(&user(ISSUER, "Ünïcode"), "40e88fb5c225e58243bd736b5e50678d");
    check(&user("", ""), "e5683dda7a71be6877191727043de195");
}

#[test]
fn the_issuer_does_not_run_into_the_subject() {
    assert_ne!(auth::user_id("ab", "c"), auth::user_id("a", "bc"));
}

#[test]
fn group_ids_may_be_made_of_names() {
    let group = auth::group_id(ISSUER, "#lunch");
    check(&group.to_string(), "54d1bc3ca9bd65242435064d633ce7bd");
}

#[test]
fn device_ids_are_made_of_keys() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&counting::<32>(0)).unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    check(&hex(&key), DEVICE_KEY);
    check(&auth::device_id(&key).to_string(), DEVICE);
}

#[test]
fn the_signed_bytes_and_their_signature_are_fixed() {
    let signed = Signed {
        version: 1,
        exporter: &counting(0x20),
        token: "header.payload.signature",
        device: DeviceId::from_hex(DEVICE).unwrap(),
        nonce: &counting(0x40),
    };
    let bytes = signed.to_bytes();
    assert_eq!(bytes.len(), auth::SIGNED_LEN);
    assert_eq!(hex(&bytes), SIGNED);
    for part in
        [&SIGNED[..66], &SIGNED[66..74], &SIGNED[74..138], &SIGNED[138..202], &SIGNED[218..]]
    {
        check(part, part);
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(&counting::<32>(0)).unwrap();
    assert_eq!(hex(pair.sign(&bytes).as_ref()), SIGNATURE);
    check(&SIGNATURE[..64], &SIGNATURE[..64]);
    check(&SIGNATURE[64..], &SIGNATURE[64..]);
}

#[test]
fn shards_are_the_first_12_bits_of_a_hash() {
    let user = |hex| Address::User(UserId::from_hex(hex).unwrap());
    let group = |hex| Address::Group(GroupId::from_hex(hex).unwrap());
    let cases = [
        (user("00000000000000000000000000000000"), 3853, [0, 3, 11, 3853]),
        (group("00000000000000000000000000000000"), 1025, [0, 1, 3, 1025]),
        (user("ffffffffffffffffffffffffffffffff"), 3713, [0, 3, 10, 3713]),
        (user("000102030405060708090a0b0c0d0e0f"), 1791, [0, 1, 5, 1791]),
        (group("000102030405060708090a0b0c0d0e0f"), 450, [0, 0, 1, 450]),
        (user("dd20e5cec19cbf20ab08ddb41a01217a"), 3777, [0, 3, 11, 3777]),
        (user("ff2ee4d8ef06d030636d41abe9463abf"), 3992, [0, 3, 11, 3992]),
        (group("54d1bc3ca9bd65242435064d633ce7bd"), 2444, [0, 2, 7, 2444]),
    ];
    for (address, shard, partitions) in cases {
        assert_eq!(VShard::of(address).get(), shard);
        let of = |count| partition_of(address, count).get();
        assert_eq!([of(1), of(4), of(12), of(4096)], partitions);
        let [_, four, twelve, _] = partitions;
        let row = format!("|{}|{shard}|{four}|{twelve}|", hex(&address.to_bytes()));
        check(&row, &row);
    }
}

#[test]
fn a_doubled_count_of_partitions_splits_each_in_two() {
    for byte in 0..=255 {
        let address = Address::User(UserId::from_bytes([byte; 16]));
        for count in [1, 2, 3, 100, 2048] {
            let [few, many] = [count, 2 * count].map(|count| partition_of(address, count).get());
            assert_eq!(few, many / 2);
        }
    }
}

#[test]
fn a_message_id_is_40_bytes() {
    let id = MessageId {
        user: auth::user_id(ISSUER, "alice"),
        device: DeviceId::from_hex(DEVICE).unwrap(),
        send: SendId { run: RunId::new(0x0102_0304_0506_0708), counter: Counter::new(9) },
    };
    let expected =
        "dd20e5cec19cbf20ab08ddb41a01217a56475aa75463474c01020304050607080000000000000009";
    check(&hex(&id.to_bytes()), expected);
    assert_eq!(MessageId::parse(&id.to_bytes(), "id"), Ok(id));
}

#[test]
fn a_seq_is_the_epoch_above_44_bits_of_offset() {
    check(&Seq::new(Epoch::new(1), Offset::new(1000)).to_string(), "17592186045416");
    assert_eq!(Seq::from_u64(17_592_186_045_416).epoch(), Epoch::new(1));
    assert_eq!(Seq::from_u64(17_592_186_045_416).offset(), Offset::new(1000));
}

#[test]
fn the_document_prints_the_limits() {
    let limits = [
        limits::HELLO_BYTES_MAX,
        limits::CLIENT_FRAME_BYTES_MAX,
        limits::SERVER_FRAME_BYTES_MAX,
        limits::PAYLOAD_BYTES_MAX,
        limits::ITEM_BYTES_MAX,
        limits::TOKEN_BYTES_MAX,
        limits::DELIVERY_WINDOW as usize,
    ];
    for limit in limits {
        let printed = format!("{},{:03}", limit / 1000, limit % 1000);
        assert!(PROTOCOL.contains(&printed), "docs/protocol.md does not print {printed}");
    }
    let seconds = [limits::AUTHENTICATE_WITHIN, limits::ANSWER_WITHIN, limits::TOKEN_LEEWAY];
    for limit in seconds {
        let row = format!("| {} s |", limit.as_secs());
        assert!(PROTOCOL.contains(&row), "docs/protocol.md has no timer of {limit:?}");
    }
}

/// A block of the document after the name of a vector is that vector.
#[test]
fn the_frames_the_document_prints_are_golden_vectors() {
    let (_, session) = PROTOCOL.split_once("## 17. ").unwrap();
    let blocks: Vec<&str> = session.split("```").collect();
    let mut count = 0;
    for pair in blocks.chunks_exact(2) {
        let name = pair[0].rsplit("\n`").find_map(|text| text.split_once("`:")).unwrap().0;
        let path = format!("{}/tests/vectors/v1/{name}.bin", env!("CARGO_MANIFEST_DIR"));
        let printed: String = pair[1].split_whitespace().collect();
        assert_eq!(printed, hex(&std::fs::read(path).unwrap()), "{name}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn ids_are_written_and_read_as_hexadecimal_digits() {
    let user = UserId::from_bytes(counting(0));
    assert_eq!(UserId::from_hex(&user.to_string()), Some(user));
    assert_eq!(UserId::from_hex("00"), None);
    assert_eq!(UserId::from_hex(&"+1".repeat(16)), None, "a sign is no digit");
    assert_eq!(format!("{user:?}"), "UserId(00010203…)");
}
