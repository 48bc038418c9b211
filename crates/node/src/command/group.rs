//! `posthorn group`: create, change, leave and show groups.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use wire::item::{GroupChange, Role};

use crate::{
    cli::{Format, GroupArgs, GroupCommand, GroupMembersArgs, GroupRoleArgs, RoleArg},
    command::recv,
    failure::Outcome,
    locate::Place,
    name, output,
    peer::{self, Use},
    show::Printer,
};

/// The cluster's decision is waited for this long.
const DECIDED_WITHIN: Duration = Duration::from_secs(20);

/// A member as JSON.
#[derive(Serialize)]
struct MemberLine {
    user: String,
    role: &'static str,
    joined: u64,
}

/// Does what is asked.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
///
/// # Cancel safety
/// A change may have happened.
pub async fn run(command: GroupCommand) -> Outcome {
    match command {
        GroupCommand::Create(args) => change_members(args, GroupChange::Create, "created").await,
        GroupCommand::Add(args) => change_members(args, GroupChange::Add, "changed").await,
        GroupCommand::Remove(args) => change_members(args, GroupChange::Remove, "changed").await,
        GroupCommand::Role(args) => change_role(args).await,
        GroupCommand::Leave(args) => change(&args, |_| Ok(GroupChange::Leave), "left").await,
        GroupCommand::Show(args) => show(&args).await,
    }
}

async fn change_members(
    args: GroupMembersArgs,
    change_to: impl FnOnce(Vec<wire::UserId>) -> GroupChange,
    done: &str,
) -> Outcome {
    let members = args.members;
    let to_change = |place: &Place| {
        let users = members
            .iter()
            .map(|member| Ok(name::user_id(&place.issuer, &name::person(member)?)))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(change_to(users))
    };
    change(&args.group, to_change, done).await
}

async fn change_role(args: GroupRoleArgs) -> Outcome {
    let to_change = |place: &Place| {
        let user = name::user_id(&place.issuer, &name::person(&args.member)?);
        let role = match args.role {
            RoleArg::Admin => Role::Admin,
            RoleArg::Member => Role::Member,
        };
        Ok(GroupChange::SetRole(user, role))
    };
    change(&args.group, to_change, "changed").await
}

async fn change(
    args: &GroupArgs,
    to_change: impl FnOnce(&Place) -> Outcome<GroupChange>,
    done: &str,
) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let group = name::group(&args.group)?;
    let change = to_change(&place)?;
    let client = peer::connect(&place, Use::Sends).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(recv::pass_over(client.inbox()));
    let id = name::group_id(&place.issuer, &group);
    let changed = client.change_group(id, change);
    let changed = peer::within(DECIDED_WITHIN, "the change", changed).await;
    client.close().await;
    changed?.map_err(|error| peer::change_failure(&error))?;
    match args.output.format {
        Format::Json => {
            output::json(&serde_json::json!({ "group": format!("#{group}"), "done": done }))
        }
        Format::Text => output::line(&format!("#{group} {done}")),
    }
}

async fn show(args: &GroupArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let group = name::group(&args.group)?;
    let client = peer::connect(&place, Use::Sends).await?;
    let id = name::group_id(&place.issuer, &group);
    let roster = peer::within(DECIDED_WITHIN, "the question", client.group(id)).await;
    client.close().await;
    let roster = roster?.map_err(|error| peer::request_failure(&error))?;
    let printer = Printer::new(&place, args.output.format);
    for member in &roster.0 {
        let role = match member.role {
            Role::Admin => "admin",
            Role::Member => "member",
        };
        let user = printer.known(member.user);
        match args.output.format {
            Format::Json => output::json(&MemberLine { user, role, joined: member.joined.get() })?,
            Format::Text => output::line(&format!("{role:<6}  {user}"))?,
        }
    }
    Ok(())
}
