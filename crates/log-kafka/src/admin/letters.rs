//! Dead letters: looking at them, and appending their records again.

use bytes::Bytes;
use ports::log::DeadLetter;
use rdkafka::consumer::Consumer;
use wire::Seq;

use super::{AdminError, asking, blocking, epochs::maps, topics::append};
use crate::{
    config::KafkaConfig, dead_letter, epoch_map, identity, layout::dead_letters_name,
    settings::Reach,
};

/// Dead letters with numbers above `after`, at most `max`, oldest first, each with its number. Some
/// that a newer version kept are left out.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn dead_letters(
    config: &KafkaConfig,
    after: Option<u64>,
    max: usize,
) -> Result<Vec<(u64, DeadLetter)>, AdminError> {
    let config = config.clone();
    blocking(move || read(&config, after.map_or(0, |after| after.saturating_add(1)), max)).await
}

fn read(config: &KafkaConfig, from: u64, max: usize) -> Result<Vec<(u64, DeadLetter)>, AdminError> {
    let name = dead_letters_name(&config.prefix);
    let (client, _) = asking(config)?;
    let id = identity::topic_id(client.client(), &name).map_err(AdminError::Retry)?;
    let mut letters = Vec::new();
    if max == 0 || id.is_none() {
        return Ok(letters);
    }
    let (_, end) = client.fetch_watermarks(&name, 0, identity::ANSWER_WITHIN)?;
    if from >= end.max(0).unsigned_abs() {
        return Ok(letters);
    }
    epoch_map::read_all(config, &name, from, &Reach::default(), |number, record, _| {
        if number >= from
            && let Ok(letter) = dead_letter::decode(Bytes::copy_from_slice(record))
        {
            letters.push((number, letter));
        }
        letters.len() < max
    })?;
    Ok(letters)
}

/// Appends the record of a dead letter to its topic again, as a new record; where it is then.
///
/// # Errors
/// [`AdminError`]. Cancel safe, and the outcome unknown: doing it again appends it again.
pub async fn put_back(config: &KafkaConfig, number: u64) -> Result<Seq, AdminError> {
    let asked = config.clone();
    let (letter, map) = blocking(move || {
        let letter = read(&asked, number, 1)?.into_iter().find(|(found, _)| *found == number);
        let (client, _) = asking(&asked)?;
        Ok((letter, maps(&asked, &client)?.into_iter().next_back()))
    })
    .await?;
    let (Some((_, letter)), Some(map)) = (letter, map) else {
        let what = format!("there is no dead letter {number}");
        return Err(AdminError::refused(what, "look at the list of dead letters"));
    };
    let epoch = letter.entry.seq.epoch();
    if epoch != map.epoch {
        return Err(AdminError::refused(
            format!("the letter is of epoch {epoch}, and {} is in use", map.epoch),
            "its partition has another meaning now: it cannot be put back",
        ));
    }
    let DeadLetter { topic, partition, entry, .. } = letter;
    append(config, map, topic, partition.get(), entry.record).await
}
