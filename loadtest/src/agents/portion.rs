//! Histograms on the wire: the V2 format of HdrHistogram, one after the other, each behind its
//! length of 4 bytes, little-endian; then how many deliveries were late, and when the first and
//! last of them came, 8 bytes each.

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer},
};

use crate::{
    generator::Stretch,
    measure::{Portion, Tally},
    report::summary::Kind,
};

/// The bytes of a portion. Its tally travels by itself.
pub(super) fn encode(portion: &Portion) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let latencies = Kind::ALL.iter().map(|kind| portion.latencies.of(*kind));
    for histogram in latencies.chain([&portion.steadfast]) {
        let mut one = Vec::new();
        if !histogram.is_empty() {
            serializer
                .serialize(histogram, &mut one)
                .expect("a histogram fits the format, and memory takes every byte");
        }
        bytes.put_u32_le(one.len() as u32);
        bytes.extend_from_slice(&one);
    }
    let (first, last) = portion.late.came_ns.unwrap_or((u64::MAX, u64::MAX));
    bytes.put_u64_le(portion.late.count);
    bytes.put_u64_le(first);
    bytes.put_u64_le(last);
    bytes
}

/// A portion from its bytes, which are taken off the front.
///
/// # Errors
/// When they are not those of one.
pub(super) fn decode(bytes: &mut Bytes, tally: Tally) -> anyhow::Result<Portion> {
    let mut portion = Portion { tally, ..Portion::default() };
    for kind in Kind::ALL {
        add(bytes, portion.latencies.of_mut(*kind))?;
    }
    add(bytes, &mut portion.steadfast)?;
    portion.late.count = number(bytes)?;
    let (first, last) = (number(bytes)?, number(bytes)?);
    portion.late.came_ns = (first != u64::MAX).then_some((first, last));
    Ok(portion)
}

fn add(bytes: &mut Bytes, into: &mut Histogram<u64>) -> anyhow::Result<()> {
    let len = bytes.try_get_u32_le()? as usize;
    ensure!(len <= bytes.len(), "a histogram is cut off");
    let one = bytes.split_to(len);
    if !one.is_empty() {
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut &one[..]).context("a histogram is damaged")?;
        into.add(histogram).context("a histogram does not fit the others")?;
    }
    Ok(())
}

/// Adds how long returns took.
pub(super) fn encode_returns(returns: &Stretch, bytes: &mut Vec<u8>) {
    bytes.put_u64_le(returns.took_ns.len() as u64);
    returns.took_ns.iter().for_each(|took_ns| bytes.put_u64_le(*took_ns));
}

/// Returns from their bytes, which are taken off the front.
///
/// # Errors
/// When they are not those of one.
pub(super) fn decode_returns(bytes: &mut Bytes, missing: usize) -> anyhow::Result<Stretch> {
    let count = usize::try_from(number(bytes)?)?;
    ensure!(count <= bytes.len() / 8, "returns are cut off");
    let took_ns = (0..count).map(|_| number(bytes)).collect::<anyhow::Result<_>>()?;
    Ok(Stretch { took_ns, missing })
}

fn number(bytes: &mut Bytes) -> anyhow::Result<u64> {
    Ok(bytes.try_get_u64_le()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::measure::Late;

    #[test]
    fn a_portion_and_returns_arrive_as_they_were() {
        let mut sent = Portion::default();
        sent.latencies.record(Kind::Accept, 1_234_567);
        sent.latencies.record(Kind::EndToEnd, 9_000_000_000);
        sent.tally.counts.accepted = 7;
        sent.tally.error("rejected", "why");
        sent.late = Late { count: 2, came_ns: Some((3, 5)) };
        let returns = Stretch { took_ns: vec![4, 2], missing: 3 };
        let mut bytes = encode(&sent);
        encode_returns(&returns, &mut bytes);

        let tally = serde_json::from_str(&serde_json::to_string(&sent.tally).unwrap()).unwrap();
        let mut bytes = Bytes::from(bytes);
        let came = decode(&mut bytes, tally).unwrap();
        assert_eq!(came.tally, sent.tally);
        assert_eq!(came.late, sent.late);
        for kind in Kind::ALL {
            assert_eq!(came.latencies.of(*kind), sent.latencies.of(*kind));
        }
        assert_eq!(decode_returns(&mut bytes, 3).unwrap().took_ns, [4, 2]);
        assert!(bytes.is_empty());
        assert!(decode(&mut bytes, Tally::default()).is_err());
    }
}
