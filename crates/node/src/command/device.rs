//! `posthorn device`: list and revoke the devices of a person.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use wire::DeviceId;

use crate::{
    catalogue::Code,
    cli::{DeviceCommand, DeviceListArgs, DeviceRevokeArgs, Format},
    command::recv,
    content,
    failure::{Failure, Outcome},
    locate::Place,
    output,
    peer::{self, Use},
};

/// An answer is waited for this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A device as JSON.
#[derive(Serialize)]
struct DeviceLine<'a> {
    id: String,
    agent: &'a str,
    registered_ms: u64,
    revoked: bool,
    this: bool,
}

/// Does what is asked.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
///
/// # Cancel safety
/// A device may have been revoked.
pub async fn run(command: DeviceCommand) -> Outcome {
    match command {
        DeviceCommand::List(args) => list(args).await,
        DeviceCommand::Revoke(args) => revoke(args).await,
    }
}

async fn list(args: DeviceListArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let client = peer::connect(&place, Use::Sends).await?;
    let devices = peer::within(ANSWER_WITHIN, "the question", client.devices()).await;
    let this = client.device();
    client.close().await;
    let devices = devices?.map_err(|error| peer::request_failure(&error))?;
    for device in &devices.0 {
        let id = device.id();
        let revoked = device.revoked.is_some();
        match args.output.format {
            Format::Json => output::json(&DeviceLine {
                id: id.to_string(),
                agent: &device.agent,
                registered_ms: device.registered_ms,
                revoked,
                this: id == this,
            })?,
            Format::Text => {
                let agent = content::for_terminal(&device.agent);
                let note = match (revoked, id == this) {
                    (true, _) => "  revoked",
                    (false, true) => "  this one",
                    (false, false) => "",
                };
                output::line(&format!("{id}  {agent}{note}"))?;
            }
        }
    }
    Ok(())
}

async fn revoke(args: DeviceRevokeArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let unknown = |what: &str| {
        Failure::new(Code::DeviceUnknown, what.to_owned())
            .at(args.id.clone())
            .remedy("`posthorn device list` shows the ids")
    };
    let device = DeviceId::from_hex(&args.id)
        .ok_or_else(|| unknown("an id of a device has 16 hexadecimal digits"))?;
    let client = peer::connect(&place, Use::Sends).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(recv::pass_over(client.inbox()));
    let is_this = device == client.device();
    let revoked = peer::within(ANSWER_WITHIN, "the change", client.revoke(device)).await;
    client.close().await;
    match revoked? {
        Ok(()) => {}
        // The connection of the own device may end before it is told.
        Err(client::ChangeError::Send(client::SendError::Closed(client::Closed::Revoked)))
            if is_this => {}
        Err(client::ChangeError::Refused(wire::item::Verdict::NoSuchDevice)) => {
            return Err(unknown("there is no such device"));
        }
        Err(error) => return Err(peer::change_failure(&error)),
    }
    match args.output.format {
        Format::Json => output::json(&serde_json::json!({ "revoked": device.to_string() })),
        Format::Text => output::line(&format!("{device} is revoked")),
    }
}
