//! What the safe client cannot ask: the identities of topics.

#![expect(unsafe_code, reason = "the client has no safe call that tells a topic's identity")]

use std::{
    ffi::{CString, c_char},
    ptr, slice,
    time::Duration,
};

use rdkafka::{
    ClientContext,
    bindings::{
        RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, rd_kafka_AdminOptions_destroy,
        rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_request_timeout,
        rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics, rd_kafka_Node_t,
        rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names,
        rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_partitions,
        rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id,
        rd_kafka_TopicPartitionInfo_replicas, rd_kafka_Uuid_least_significant_bits,
        rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t, rd_kafka_error_code,
        rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error,
        rd_kafka_event_type, rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll,
    },
    client::Client,
    error::RDKafkaErrorCode,
    types::RDKafkaRespErr,
};
use wire::TopicId;

/// A topic as the brokers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: TopicId,
    pub(crate) partitions: usize,
    /// Of the partition that has the fewest.
    pub(crate) replicas: usize,
}

/// The topics of these names, in their order; none where there is none. Waits up to `within`.
///
/// # Errors
/// Why the brokers did not say.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    within: Duration,
) -> Result<Vec<Option<Described>>, String> {
    let names: Vec<CString> = names
        .iter()
        .map(|name| CString::new(*name).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let within_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives until the end of this function, the names until the collection has
    // copied them; all that is made here is destroyed here, the event after what it owns was
    // copied out of it; the options take a null buffer of length 0 for a message.
    unsafe {
        let native = client.native_ptr();
        let topics = rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), names.len());
        let queue = rd_kafka_queue_new(native);
        let options = rd_kafka_AdminOptions_new(
            native,
            rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        rd_kafka_AdminOptions_set_request_timeout(options, within_ms, ptr::null_mut(), 0);
        rd_kafka_DescribeTopics(native, topics, options, queue);
        // The request times out by itself; the queue has a second more for its answer.
        let event = rd_kafka_queue_poll(queue, within_ms.saturating_add(1000));
        let described = if event.is_null() {
            Err("no answer about the topics in time".to_owned())
        } else {
            let error = rd_kafka_event_error(event);
            let described = if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                Err(RDKafkaErrorCode::from(error).to_string())
            } else if rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT {
                let mut count = 0;
                let found = rd_kafka_DescribeTopics_result_topics(
                    rd_kafka_event_DescribeTopics_result(event),
                    &raw mut count,
                );
                let found = slice_of(found, count);
                found.iter().map(|topic| describe(*topic)).collect()
            } else {
                Err("the brokers answered something else".to_owned())
            };
            rd_kafka_event_destroy(event);
            described
        };
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        rd_kafka_TopicCollection_destroy(topics);
        described
    }
}

/// One topic of an answer.
///
/// # Safety
/// The topic belongs to an event that is not destroyed yet.
unsafe fn describe(topic: *const rd_kafka_TopicDescription_t) -> Result<Option<Described>, String> {
    // SAFETY: what the caller promises; everything asked for belongs to the same event.
    unsafe {
        let error = rd_kafka_error_code(rd_kafka_TopicDescription_error(topic));
        let is_unknown = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            || error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID;
        if is_unknown {
            return Ok(None);
        }
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(RDKafkaErrorCode::from(error).to_string());
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let mut bytes = [0; TopicId::LEN];
        bytes[..8].copy_from_slice(&rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
        bytes[8..].copy_from_slice(&rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
        let mut count = 0;
        let partitions = rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let replicas = slice_of(partitions, count).iter().map(|partition| {
            let mut count = 0;
            let _: *mut *const rd_kafka_Node_t =
                rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut count);
            count
        });
        Ok(Some(Described {
            id: TopicId::from_bytes(bytes),
            partitions: count,
            replicas: replicas.min().unwrap_or(0),
        }))
    }
}

/// An array of the client library, which gives a null pointer for an empty one.
///
/// # Safety
/// There are `count` values at `first`, which live longer than `'a`.
unsafe fn slice_of<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: what the caller promises.
    unsafe { slice::from_raw_parts(first, count) }
}
