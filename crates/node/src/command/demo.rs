//! `posthorn demo`: a conversation through a real cluster, and the comparison at the end.

use std::{io::IsTerminal as _, path::Path, sync::Arc};

use client::{Config as ClientConfig, Servers, TokenError, Via, store::MemoryStore};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use link::tls::Roots;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    assemble::Cluster,
    catalogue::Code,
    cli::{DemoArgs, Format},
    clock::wall_clock_ms,
    command::dev,
    config::{Config, value::Size},
    content,
    demo::{
        invented,
        report::{Report, Scene},
        script::{Script, Target},
        stage::{self, Happened, Stage},
        tally::{self, Device},
    },
    development::{self, Development},
    failure::{Failure, Outcome},
    output,
    run::{Signals, end_at_once},
    telemetry,
};

/// Lines of the excerpt.
const EXCERPT_LINES: usize = 6;
/// Characters of a line of the excerpt.
const EXCERPT_WIDTH: usize = 90;

/// Routes the input through a cluster of its own and says what became of it.
///
/// # Errors
/// When the input cannot be used, or anything was lost, repeated, out of order or changed.
///
/// # Cancel safety
/// The temporary folder is removed.
pub async fn run(args: DemoArgs) -> Outcome {
    let script = Arc::new(script(args.input.as_deref())?);
    let folder = tempfile::Builder::new().prefix("posthorn-demo-").tempdir().map_err(|error| {
        Failure::new(Code::DataUnusable, format!("a temporary folder: {error}"))
            .at(std::env::temp_dir().display().to_string())
            .remedy("give another one: TMPDIR=/some/folder posthorn demo")
    })?;
    let mut signals = Signals::take()?;
    let (report, scene) = tokio::select! {
        biased;
        exit = signals.next() => {
            // The folder goes with its owner; the process has nothing else to keep.
            drop(folder);
            end_at_once(exit)
        }
        played = play(&script, &folder) => played?,
    };
    match args.output.format {
        Format::Json => output::json(&report)?,
        Format::Text => output::print(&report.to_text(&scene))?,
    }
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::new(Code::DemoWrong, "what was received is not what was accepted")
        .remedy("keep the input and the output, and report it"))
}

fn script(input: Option<&Path>) -> Outcome<Script> {
    let Some(path) = input else { return Ok(invented::script()) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Code::InputUnreadable, error.to_string())
            .at(file.clone())
            .remedy("give a file of UTF-8 text: JSON Lines, or a message a line")
    })?;
    Script::parse(&file, &text)
}

async fn play(script: &Arc<Script>, folder: &TempDir) -> Outcome<(Report, Scene)> {
    let development = Development::prepare(folder.path(), std::net::Ipv4Addr::LOCALHOST.into())?;
    let config = config(folder.path(), &development, script);
    telemetry::start(&config.telemetry)?;
    let cluster = Cluster::start(&config).await?;
    let address = cluster.address().expect("it plays the role edge").to_string();
    let roots = std::fs::read(development.ca_file()).map_err(anyhow::Error::from)?;
    let roots = Roots::from_pem(&roots).map_err(anyhow::Error::from)?;
    let bar = bar(stage::count_due(script));
    let began = Instant::now();
    let shown = bar.clone();
    let stage = Stage::new(
        Arc::clone(script),
        |device| client_config(script, device, &development, &address, &roots),
        move |arrived| shown.set_position(arrived as u64),
    )?;
    let happened = stage.play().await;
    bar.finish_and_clear();
    let took = began.elapsed();
    let happened = happened?;
    cluster.drain().await?;
    let tally = tally::compare(script, &happened.accepted, &happened.received);
    let scene = Scene {
        people: script.people.len(),
        groups: script.groups.len(),
        took,
        caught_up: happened.caught_up,
        excerpt: excerpt(script, &happened),
    };
    let Happened { accepted, accept, deliver, resumed, .. } = happened;
    let messages = script.messages.len();
    Ok((Report::new(messages, accepted.len(), resumed, tally, accept, deliver), scene))
}

fn config(folder: &Path, development: &Development, script: &Script) -> Config {
    let mut config = Config::default();
    dev::use_development(&mut config, development);
    folder.clone_into(&mut config.node.data);
    config.listen.address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    config.admin.enabled = false;
    config.telemetry.level = "error".to_owned();
    // All devices come from one address, and nobody is to be sent elsewhere at the end.
    let devices = script.people.len() * tally::DEVICES;
    config.edge.connections_per_ip_max = config.edge.connections_per_ip_max.max(2 * devices);
    config.edge.connections_max = config.edge.connections_max.max(2 * devices);
    config.edge.drain_jitter = std::time::Duration::ZERO;
    // Everybody receives at once on a machine that may be slow: what is not pushed in time comes
    // soon.
    config.edge.head_check = std::time::Duration::from_secs(2);
    config.worker.push_queue_len = 65_536;
    // A temporary folder is often on a small disk.
    config.engine.disk_reserve = Size::mib(64);
    config
}

fn client_config(
    script: &Script,
    device: Device,
    development: &Development,
    address: &str,
    roots: &Roots,
) -> Outcome<ClientConfig> {
    let servers = Servers::Quic {
        addresses: vec![address.to_owned()],
        server_name: development::SERVER_NAME.to_owned(),
        via: Via::Own(roots.clone()),
    };
    let (development, person) = (development.clone(), script.people[device.person].clone());
    let token = move || {
        let token = development.mint(&person, wall_clock_ms());
        std::future::ready(token.map_err(|failure| TokenError(failure.to_string())))
    };
    let mut config = ClientConfig::new(servers, token, MemoryStore::new());
    config.agent = format!("posthorn-demo/{}", device.number);
    Ok(config)
}

fn bar(due: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries, {per_sec}")
        .expect("the template is valid");
    ProgressBar::with_draw_target(Some(due as u64), target).with_style(style)
}

/// The first lines that the second device of somebody was given after it had been away.
fn excerpt(script: &Script, happened: &Happened) -> Option<(String, Vec<String>)> {
    let (device, items) = happened
        .received
        .iter()
        .filter(|(device, _)| device.number > 0)
        .max_by_key(|(_, items)| items.len())?;
    let reader = &script.people[device.person];
    let lines = items.iter().skip(items.len() / 3).take(EXCERPT_LINES).map(|item| {
        let named = script.messages.iter().zip(0..).find(|(_, place)| {
            happened.accepted.iter().any(|one| one.id == item.id && one.message == *place)
        });
        let to = match named.map(|(message, _)| message.to) {
            Some(Target::Group(group)) => format!("#{}", script.groups[group].name),
            Some(Target::Person(person)) => script.people[person].clone(),
            None => "?".to_owned(),
        };
        let address = crate::name::Name::parse(&to).map(|name| name.address(development::ISSUER));
        let address = address.unwrap_or(wire::Address::User(item.id.user));
        let shown = content::decode(development::ISSUER, item.id.user, address, &item.payload);
        let line = format!("{} -> {to}: {}", shown.from, shown.saying.to_terminal());
        line.chars().take(EXCERPT_WIDTH).collect()
    });
    Some((format!("What {reader}'s second device read when it came back:"), lines.collect()))
}
