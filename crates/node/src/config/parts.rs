//! From settings to what each part of the program takes, and what must hold between settings.

use std::time::Duration;

use edge::{EdgeConfig, config::OutOfRange, token::TokenConfig};
use embedded::EngineConfig;
use link::secret::MasterSecret;
use worker::{Roles, WorkerConfig};

use crate::{
    catalogue::Code,
    config::{Config, Role, cluster::Engines, value::Size},
    failure::{Failure, Outcome},
};

/// Windows that a retention may be divided into.
const WINDOWS_MAX: u32 = 64;

impl Config {
    /// Whether this process plays a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.node.roles.contains(&role)
    }

    /// Whether all settings fit together.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Outcome {
        if self.node.roles.is_empty() {
            return Err(Failure::new(Code::SettingsConflict, "there is no role to play")
                .at("node.roles")
                .remedy("write at least one of \"edge\", \"mail-worker\", \"group-worker\""));
        }
        match self.node.engines {
            Engines::Embedded => self.check_embedded()?,
            Engines::Cluster => self.check_cluster()?,
        }
        self.edge_config().check().map_err(|error| out_of_range(&error))?;
        self.master_secret()?;
        if self.has(Role::Edge) {
            self.required()?;
        }
        Ok(())
    }

    fn check_embedded(&self) -> Outcome {
        if self.engine.window.is_zero() || self.node.retention > self.engine.window * WINDOWS_MAX {
            return Err(conflict(
                "node.retention, engine.window",
                "the retention is more than 64 windows",
            ));
        }
        for (name, count) in [
            ("engine.mail_partitions", self.engine.mail_partitions),
            ("engine.group_partitions", self.engine.group_partitions),
        ] {
            if !(1..=wire::limits::VSHARDS).contains(&count) {
                return Err(conflict(name, "partitions must be from 1 to 4096"));
            }
        }
        Ok(())
    }

    fn required(&self) -> Outcome {
        let missing = [
            ("listen.certificate_file", self.listen.certificate_file.is_none()),
            ("listen.key_file", self.listen.key_file.is_none()),
            ("identity.issuer", self.identity.issuer.is_empty()),
            ("identity.jwks", self.identity.jwks.is_empty()),
        ];
        match missing.iter().find(|(_, is_missing)| *is_missing) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Failure::new(Code::SettingMissing, format!("the role edge needs `{name}`"))
                    .at((*name).to_owned())
                    .remedy("set it; to try things out, `posthorn dev` makes everything by itself"))
            }
        }
    }

    /// Options of the role edge.
    #[must_use]
    pub fn edge_config(&self) -> EdgeConfig {
        let edge = &self.edge;
        EdgeConfig {
            connections_max: edge.connections_max,
            connections_per_ip_max: edge.connections_per_ip_max,
            half_open_retry: edge.half_open_retry,
            half_open_ignore: edge.half_open_ignore,
            push_queue_len: edge.push_queue_len,
            control_bytes_max: bytes(edge.control_bytes_max),
            slow_reader_ms: millis(edge.slow_reader),
            send_bytes_per_s: edge.send_rate.0,
            send_bytes_burst: edge.send_burst.0,
            control_silence_ms: millis(edge.control_silence),
            lag_max_ms: millis(edge.lag_max),
            head_check_ms: millis(edge.head_check),
            cursor_flush_ms: millis(edge.cursor_flush),
            lease_ttl_ms: millis(edge.lease),
            drain_within_ms: millis(self.node.drain_within),
            drain_jitter_ms: millis(edge.drain_jitter),
            retention_ms: millis(self.node.retention),
        }
    }

    /// Options about tokens.
    #[must_use]
    pub fn token_config(&self) -> TokenConfig {
        TokenConfig {
            issuer: self.identity.issuer.clone(),
            audience: self.identity.audience.clone(),
            jwks: self.identity.jwks.clone(),
            jwks_ca_file: self.identity.jwks_ca_file.clone(),
        }
    }

    /// Options of the worker roles.
    #[must_use]
    pub fn worker_config(&self) -> WorkerConfig {
        let worker = &self.worker;
        WorkerConfig {
            roles: Roles { mail: self.has(Role::MailWorker), group: self.has(Role::GroupWorker) },
            batch_records_max: worker.batch_records_max,
            batch_bytes_max: bytes(worker.batch_bytes_max),
            repeats_remembered: worker.repeats_remembered,
            users_cached: worker.users_cached,
            groups_cached: worker.groups_cached,
            heads_remembered: worker.heads_remembered,
            drain_within: self.node.drain_within,
            push_enabled: worker.push,
            push_edge_queued: worker.push_queue_len,
            push_edge_queued_bytes: bytes(worker.push_queue_bytes),
            ..WorkerConfig::default()
        }
    }

    /// Options of the embedded engines.
    #[must_use]
    pub fn engine_config(&self) -> EngineConfig {
        let engine = &self.engine;
        EngineConfig {
            mail_partitions: engine.mail_partitions,
            group_partitions: engine.group_partitions,
            queue_bytes_max: bytes(engine.queue_bytes_max),
            queue_records_max: engine.queue_records_max,
            tail_bytes_max: bytes(engine.tail_bytes_max),
            segment_bytes: engine.segment_bytes.0,
            log_keep: engine.log_keep,
            retention: self.node.retention,
            window: engine.window,
            disk_reserve_bytes: engine.disk_reserve.0,
            ..EngineConfig::new(self.node.data.join("engine"))
        }
    }

    /// The secret all edges share; a fresh one when none is set.
    ///
    /// # Errors
    /// When it is not 64 hexadecimal digits. It is not shown.
    pub fn master_secret(&self) -> Outcome<MasterSecret> {
        let Some(text) = self.listen.secret.reveal() else { return Ok(MasterSecret::random()) };
        let digits = text.trim();
        let mut key = [0; 32];
        let is_hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(Failure::new(Code::BadValue, "the secret is not 64 hexadecimal digits")
                .at("listen.secret")
                .remedy("make one with `openssl rand -hex 32`"));
        }
        for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits are text");
            *byte = u8::from_str_radix(pair, 16).expect("the digits were looked at");
        }
        Ok(MasterSecret::from_bytes(key))
    }
}

fn conflict(place: &str, what: &str) -> Failure {
    Failure::new(Code::SettingsConflict, what)
        .at(place)
        .remedy("change one of them; docs/reference/config.md tells the ranges")
}

/// What an edge calls its option, as it is called here.
fn out_of_range(error: &OutOfRange) -> Failure {
    let setting = match error.option {
        "drain_within_ms" => "node.drain_within".to_owned(),
        "retention_ms" => "node.retention".to_owned(),
        "send_bytes_per_s" => "edge.send_rate".to_owned(),
        "send_bytes_burst" => "edge.send_burst".to_owned(),
        "lease_ttl_ms" => "edge.lease".to_owned(),
        option => format!("edge.{}", option.strip_suffix("_ms").unwrap_or(option)),
    };
    let unit = if error.option.ends_with("_ms") { " ms" } else { "" };
    let OutOfRange { value, min, max, .. } = error;
    let what = format!("{value}{unit} is out of range for `{setting}`");
    Failure::new(Code::SettingsConflict, what)
        .at(setting)
        .remedy(format!("choose a value from {min}{unit} to {max}{unit}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
