//! The first question to the brokers, and why nobody answered it.

use std::time::Duration;

use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode, metadata::Metadata};

use crate::{
    OpenError,
    settings::{Asking, Reach},
};

/// What to do when the brokers do not know who this is.
const CORRECT_USER: &str = "correct sasl_mechanism, the user or the password";
/// What to do when no encrypted connection can be made.
const CORRECT_TLS: &str = "look at tls, at ca_file, and at the names in the brokers' certificates";
/// What may be the matter with a broker that hangs up.
const PERHAPS: &str = "; the brokers may want TLS, or a user: see tls and sasl_mechanism";

/// What the client library says when a broker hung up, by when it noticed.
const HANGS_UP: [&str; 3] = ["isconnected", "Broken pipe", "reset by peer"];

/// A few dozen lines and errors may wait, one for each poll.
const POLLS: u32 = 64;
const POLL_FOR: Duration = Duration::from_millis(1);

/// Which brokers there are and, of a topic that is named, its partitions. Blocks.
///
/// # Errors
/// [`OpenError::Refused`] when a broker does not let this client in or cannot be trusted,
/// [`OpenError::Unreachable`] for anything else: as well as the client library knows.
pub(crate) fn greet(
    client: &Asking,
    reach: &Reach,
    topic: Option<&str>,
    within: Duration,
) -> Result<Metadata, OpenError> {
    let error = match client.fetch_metadata(topic, within) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    // What it knows of the connections waits to be polled.
    for _ in 0..POLLS {
        drop(client.poll(POLL_FOR));
    }
    let Some((code, why)) = reach.why() else {
        return Err(OpenError::Unreachable(error.to_string()));
    };
    if let Some(refused) = refusal(code, &why) {
        return Err(refused);
    }
    // One that hangs up does not say why.
    let hint = if HANGS_UP.iter().any(|words| why.contains(words)) { PERHAPS } else { "" };
    Err(OpenError::Unreachable(format!("{why}{hint}")))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the client library may add codes")]
fn refusal(code: RDKafkaErrorCode, why: &str) -> Option<OpenError> {
    let (what, remedy) = match code {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            (format!("Kafka does not let this user in: {why}"), CORRECT_USER)
        }
        RDKafkaErrorCode::SSL => {
            (format!("no encrypted connection to Kafka can be made: {why}"), CORRECT_TLS)
        }
        _ => return None,
    };
    Some(OpenError::Refused { what, remedy: remedy.to_owned() })
}
