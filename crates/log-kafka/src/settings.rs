//! What every client of Kafka is told, and what it tells us.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use crate::config::{KafkaConfig, Mechanism};

/// Settings all clients share.
pub(crate) fn base(config: &KafkaConfig) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", &config.name)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "20000")
        .set("topic.metadata.refresh.interval.ms", "30000");
    secure(config, &mut settings);
    settings
}

/// Encryption and authentication.
fn secure(config: &KafkaConfig, settings: &mut ClientConfig) {
    let security = &config.security;
    let protocol = match (&security.tls, &security.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    settings.set("security.protocol", protocol);
    if let Some(tls) = &security.tls {
        let files = [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.certificate_file),
            ("ssl.key.location", &tls.key_file),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                settings.set(key, file.to_string_lossy());
            }
        }
    }
    if let Some(sasl) = &security.sasl {
        let mechanism = match sasl.mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        settings
            .set("sasl.mechanism", mechanism)
            .set("sasl.username", &sasl.user)
            .set("sasl.password", sasl.password.reveal());
    }
}

/// A client to ask with; it reads nothing.
pub(crate) fn asking(config: &KafkaConfig, reach: &Reach) -> KafkaResult<Asking> {
    let mut settings = base(config);
    settings.set_log_level(RDKafkaLogLevel::Info);
    Asking::from_config_and_context(&settings, Events(reach.clone()))
}

/// A client to ask with.
pub(crate) type Asking = BaseConsumer<Events>;

/// Whether any broker is there, as far as is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    is_lost: AtomicBool,
    /// Why the last connection that failed did.
    why: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Reach {
    pub(crate) fn is_lost(&self) -> bool {
        self.0.is_lost.load(Relaxed)
    }

    pub(crate) fn set_lost(&self, lost: bool) {
        // Read first: this is called for every record.
        if self.is_lost() != lost {
            self.0.is_lost.store(lost, Relaxed);
        }
    }

    /// Why the last connection that failed did, with the words of the client library.
    pub(crate) fn why(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, code: RDKafkaErrorCode, why: &str) {
        let why = Some((code, why.to_owned()));
        *self.0.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Takes note of a line of a client. Of a broker that hangs up there is nothing else.
    fn read_line(&self, facility: &str, message: &str) {
        if facility == "FAIL" && message.contains("isconnected") {
            let why = message.split_once("]: ").map_or(message, |(_thread, why)| why);
            self.note(RDKafkaErrorCode::BrokerTransportFailure, why);
        }
    }

    /// Takes note of an error of a client.
    pub(crate) fn heard(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // It comes after the reasons of each connection.
            Some(RDKafkaErrorCode::AllBrokersDown) => self.set_lost(true),
            Some(code) => self.note(code, reason),
            None => {}
        }
        tracing::debug!(%error, reason, "Kafka client");
    }
}

/// What clients say, into the log of the program.
pub(crate) struct Events(pub(crate) Reach);

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.read_line(facility, message);
        log_line(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.heard(&error, reason);
    }
}

impl ConsumerContext for Events {}

/// One line of the client library. What it calls errors is mostly connections it makes again.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // What it thinks of settings, which are meant.
        RDKafkaLogLevel::Warning if facility == "CONFWARN" => {
            tracing::debug!(facility, message, "Kafka client");
        }
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "Kafka client"),
        RDKafkaLogLevel::Notice => tracing::info!(facility, message, "Kafka client"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, message, "Kafka client");
        }
    }
}
