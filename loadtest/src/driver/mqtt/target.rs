//! Where a broker is, and how it is spoken to.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use super::session::Credentials;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Tls,
    Quic,
}

/// A broker, as the command line names it: `SCHEME://[USER:PASSWORD@]HOST[:PORT]`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) transport: Transport,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let expected = || {
            format!(
                "the MQTT target \"{text}\" is none: expected mqtt://HOST:1883 (TCP), \
                 mqtts://HOST:8883 (TLS) or mqtt+quic://HOST:14567, each with USER:PASSWORD@ \
                 before the host if the broker asks for it"
            )
        };
        let (scheme, rest) = text.split_once("://").with_context(expected)?;
        let (transport, port) = match scheme {
            "mqtt" => (Transport::Tcp, 1883),
            "mqtts" => (Transport::Tls, 8883),
            "mqtt+quic" => (Transport::Quic, 14567),
            _ => bail!(expected()),
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => {
                (Some(credentials.parse().with_context(expected)?), place)
            }
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, given)) if !given.ends_with(']') => {
                (host, given.parse().with_context(expected)?)
            }
            _ => (place, port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ensure!(!host.is_empty() && !host.contains('/'), expected());
        Ok(Self { transport, host: host.to_owned(), port, credentials })
    }
}

impl FromStr for Credentials {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (user, password) = text.split_once(':').context("a user without a password")?;
        let fits = |text: &str| u16::try_from(text.len()).is_ok();
        ensure!(fits(user) && fits(password), "user or password is longer than 64 KiB");
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: (Transport, &str, u16)) {
        let target: Target = text.parse().expect(text);
        assert_eq!((target.transport, target.host.as_str(), target.port), expected, "{text}");
    }

    #[test]
    fn each_scheme_has_its_transport_and_port() {
        check("mqtt://broker", (Transport::Tcp, "broker", 1883));
        check("mqtts://broker", (Transport::Tls, "broker", 8883));
        check("mqtt+quic://broker", (Transport::Quic, "broker", 14567));
        check("mqtt+quic://127.0.0.1:2144", (Transport::Quic, "127.0.0.1", 2144));
        check("mqtt://[::1]:99", (Transport::Tcp, "::1", 99));
        check("mqtt://[::1]", (Transport::Tcp, "::1", 1883));
    }

    #[test]
    fn credentials_stand_before_the_host() {
        let target: Target = "mqtt://ann:p@ss:word@broker:1".parse().expect("a target");
        let credentials = target.credentials.expect("credentials");
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("ann", "p@ss:word")
        );
        assert_eq!(target.host, "broker");
        assert!(!format!("{credentials:?}").contains("word"));
    }

    #[test]
    fn what_is_no_target_is_told_what_is_one() {
        for text in ["broker:1883", "http://broker", "mqtt://", "mqtt://b:no", "mqtt://a@b"] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains("expected mqtt://HOST:1883"), "{error}");
        }
    }
}
