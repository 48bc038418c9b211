//! `posthorn dev`: a lasting cluster on this machine, with its own authority and identity provider.

use std::{io::IsTerminal as _, path::Path};

use crate::{
    cli::{DATA_DEFAULT, DevArgs},
    config::{self, Config, value::Secret},
    development::{self, Cluster, Development},
    failure::Outcome,
    output, run, telemetry,
};

/// Runs until it is asked to end.
///
/// # Errors
/// What kept it from starting, or a part that failed.
///
/// # Cancel safety
/// As [`run::run`].
pub async fn run(args: DevArgs) -> Outcome {
    let loaded = config::load(None, &flags(&args))?;
    let mut config = loaded.config;
    telemetry::start(&config.telemetry)?;
    let development = Development::prepare(&args.data, args.listen.ip())?;
    use_development(&mut config, &development);
    if config.listen.secret.reveal().is_none() {
        config.listen.secret = Secret::new(development.secret()?);
    }
    let announced = std::cell::Cell::new(false);
    let ended = run::run(&config, |started| {
        let address = started.address.unwrap_or(args.listen);
        development.announce(&Cluster { address, more: Vec::new(), admin: started.admin })?;
        announced.set(true);
        output::print(&welcome(&args.data, address, started.admin))
    })
    .await;
    if announced.get() {
        development.withdraw();
    }
    ended
}

/// The flags of `dev` as settings; `--set` is stronger.
fn flags(args: &DevArgs) -> Vec<String> {
    // A person at a terminal reads the welcome; lines of the log only disturb unless something is
    // up. That a client comes back with an address token of an earlier start is nothing of that.
    let level = if std::io::stderr().is_terminal() { "warn" } else { "info" };
    let own = [
        format!("node.data={}", args.data.display()),
        format!("listen.address={}", args.listen),
        format!("admin.address={}", args.admin),
        format!("telemetry.level={level},quinn_proto=error"),
        "edge.drain_jitter=0s".to_owned(),
    ];
    own.into_iter().chain(args.set.iter().cloned()).collect()
}

/// Lets the cluster serve with its own certificate and believe its own tokens.
pub fn use_development(config: &mut Config, development: &Development) {
    config.listen.certificate_file = Some(development.certificate_file());
    config.listen.key_file = Some(development.key_file());
    development::ISSUER.clone_into(&mut config.identity.issuer);
    development::AUDIENCE.clone_into(&mut config.identity.audience);
    config.identity.jwks = development.jwks_file().display().to_string();
}

fn welcome(
    data: &Path,
    address: std::net::SocketAddr,
    admin: Option<std::net::SocketAddr>,
) -> String {
    let option = if data == Path::new(DATA_DEFAULT) {
        String::new()
    } else {
        format!(" --data {}", quoted(&data.display().to_string()))
    };
    let admin = admin.map_or_else(String::new, |admin| {
        format!("Health and metrics:      http://{admin}/readyz and /metrics\n")
    });
    format!(
        "Posthorn is running on {address} (QUIC), everything is kept in {}\n{admin}\n\
         In a second terminal:\n\
         \x20 posthorn recv{option} --as bob --follow\n\
         and in a third:\n\
         \x20 posthorn send{option} --as alice --to bob \"hello\"\n\
         \x20 posthorn chat{option} --as alice --with bob\n\
         \x20 posthorn group create{option} '#team' bob carol --as alice\n\n\
         Ctrl-C drains and ends.\n",
        data.display()
    )
}

/// A path as a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
