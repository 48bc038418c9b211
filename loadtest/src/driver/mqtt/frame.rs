//! Packets in and out of bytes.

use bytes::{Bytes, BytesMut};
use mqtt5_protocol::{
    FixedHeader, Packet, PacketType, QoS,
    packet::{MqttPacket, publish::PublishPacket},
};

/// No packet of a load test is longer: payloads end at 64 KiB.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// Takes the next packet that has arrived whole.
///
/// # Errors
/// When the bytes are no packet; what is wrong with them.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Packet>, String> {
    let Some(len) = packet_len(buffer)? else { return Ok(None) };
    if buffer.len() < len {
        return Ok(None);
    }
    let mut packet: Bytes = buffer.split_to(len).freeze();
    let header = FixedHeader::decode(&mut packet).map_err(|error| error.to_string())?;
    Packet::decode_from_body(header.packet_type, &header, &mut packet)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// The length of the first packet with its header, once enough of the header is there.
fn packet_len(buffer: &[u8]) -> Result<Option<usize>, String> {
    let mut remaining = 0;
    for (place, byte) in buffer.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let len = 2 + place + remaining;
            if len > PACKET_BYTES_MAX {
                return Err(format!("a packet of {len} bytes, of at most {PACKET_BYTES_MAX}"));
            }
            return Ok(Some(len));
        }
    }
    if buffer.len() >= 5 {
        return Err("a packet's length has more than four bytes".to_owned());
    }
    Ok(None)
}

/// Appends a packet.
pub(super) fn put(packet: &impl MqttPacket, out: &mut BytesMut) {
    packet.encode(out).expect("every text of ours is shorter than 64 KiB");
}

/// Appends a message at QoS 1.
pub(super) fn put_message(topic: &str, payload: &Bytes, id: u16, again: Again, out: &mut BytesMut) {
    let packet = PublishPacket::new(topic, payload.clone(), QoS::AtLeastOnce)
        .with_packet_id(id)
        .with_dup(again == Again::Yes);
    let len = u32::try_from(packet.body_encoded_size()).expect("payloads end at 64 KiB");
    FixedHeader::new(PacketType::Publish, packet.flags(), len)
        .encode(out)
        .and_then(|()| packet.encode_body_direct(out))
        .expect("every text of ours is shorter than 64 KiB");
}

/// Whether a message is sent once more, with the flag that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload_bytes: usize) -> BytesMut {
        let mut out = BytesMut::new();
        put_message("a/b", &Bytes::from(vec![7; payload_bytes]), 9, Again::Yes, &mut out);
        out
    }

    #[test]
    fn a_packet_is_taken_when_its_last_byte_has_come() {
        for payload_bytes in [0, 1, 120, 20_000] {
            let whole = message(payload_bytes);
            let mut arrived = BytesMut::new();
            for (place, byte) in whole.iter().enumerate() {
                arrived.extend_from_slice(&[*byte]);
                let packet = take(&mut arrived).expect("no error");
                assert_eq!(packet.is_some(), place + 1 == whole.len(), "after byte {place}");
            }
            assert!(arrived.is_empty());
        }
    }

    #[test]
    fn a_message_survives_the_wire() {
        let mut bytes = message(300);
        let Ok(Some(Packet::Publish(packet))) = take(&mut bytes) else {
            panic!("expected a message");
        };
        assert_eq!(packet.topic_name, "a/b");
        assert_eq!((packet.packet_id, packet.dup), (Some(9), true));
        assert_eq!(packet.payload, vec![7; 300]);
    }

    #[test]
    fn endless_lengths_are_refused() {
        let mut bytes = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..]);
        assert!(take(&mut bytes).is_err());
        let mut bytes = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
        assert!(take(&mut bytes).expect_err("too long").contains("at most"));
    }
}
