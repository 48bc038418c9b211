//! `posthorn admin erase`: a user's mailbox, for good.

use clap::Args;
use ports::{
    Mailbox,
    mailbox::{Range, Rows},
};
use serde::Serialize;
use wire::{Seq, UserId};

use crate::{
    catalogue::Code,
    cli::{Format, NodeArgs, OutputArgs},
    command::admin::{engines::Engines, steps::ApplyArgs},
    config,
    failure::{Failure, Outcome},
    name, output,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin erase 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --config posthorn.toml
  posthorn admin erase --subject alice --config posthorn.toml --yes
  posthorn admin erase --issuer https://id.example --subject alice --up-to 4711 --yes
  posthorn admin erase --issuer https://posthorn.invalid/dev --subject bob --set node.data=DIR

What is sent after the erasure arrives as ever. Not erased are the user's devices and groups,
copies in other mailboxes and on devices, and what the log and backups hold until they are old.";

/// Rows and bytes that are counted at a time.
const PAGE_ROWS: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// Arguments of `erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The user, by id: 32 hexadecimal digits
    #[arg(required_unless_present = "subject", conflicts_with_all = ["subject", "issuer"])]
    pub user_id: Option<String>,
    /// The user, by what tokens have as `sub`
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// Who names the user so, what tokens have as `iss` [default: identity.issuer]
    #[arg(long, value_name = "ISSUER", requires = "subject")]
    pub issuer: Option<String>,
    /// Erase up to this place, as `seq` in JSON lines says [default: all there is now]
    #[arg(long, value_name = "SEQ")]
    pub up_to: Option<u64>,
    /// Whether something is changed.
    #[command(flatten)]
    pub apply: ApplyArgs,
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What goes, or went.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Erasure {
    user: String,
    head: u64,
    up_to: u64,
    rows: u64,
    bytes: u64,
    erased: bool,
}

/// Says what would go, and with `--yes` erases it.
///
/// # Errors
/// When the engine cannot be used, or there is no such user id.
///
/// # Cancel safety
/// Some or all may have been erased; doing it again erases the rest.
pub async fn run(args: EraseArgs) -> Outcome {
    let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
    let user = user(&args, &loaded.config.identity.issuer)?;
    let engines = Engines::open(&loaded.config).await?;
    let erasure = erase(engines.mailbox().as_ref(), user, &args).await;
    engines.close().await?;
    let erasure = erasure?;
    match args.output.format {
        Format::Json => output::json(&erasure),
        Format::Text => output::print(&text(&erasure, args.up_to)),
    }
}

fn user(args: &EraseArgs, own_issuer: &str) -> Outcome<UserId> {
    if let Some(digits) = &args.user_id {
        return UserId::from_hex(digits).ok_or_else(|| {
            let what = format!("`{}` is not a user id", digits.escape_debug());
            Failure::new(Code::BadName, what)
                .remedy("give 32 hexadecimal digits, or --subject NAME and --issuer ISSUER")
        });
    }
    let subject = args.subject.as_deref().expect("the command line needs one of both");
    let issuer = args.issuer.as_deref().unwrap_or(own_issuer);
    if issuer.is_empty() {
        return Err(Failure::new(Code::SettingMissing, "whose name this is, is not known")
            .at("identity.issuer")
            .remedy("name it by --issuer ISSUER, or the configuration by --config FILE"));
    }
    Ok(name::user_id(issuer, subject))
}

async fn erase(mailbox: &dyn Mailbox, user: UserId, args: &EraseArgs) -> Outcome<Erasure> {
    let heads = mailbox.heads(vec![user]).await.map_err(|error| store_failed(&error))?;
    let head = *heads.first().expect("a head for each user");
    // Rows above the head are still to come; whoever wants those gone too erases again later.
    let up_to = args.up_to.map_or(head, |up_to| Seq::from_u64(up_to).min(head));
    let (rows, bytes) = count(mailbox, user, up_to).await?;
    // Also with nothing to be seen: an erasure that was cut short is finished so.
    if args.apply.yes && up_to > Seq::ZERO {
        mailbox.erase(user, up_to).await.map_err(|error| store_failed(&error))?;
    }
    let (user, head, up_to) = (user.to_string(), head.get(), up_to.get());
    Ok(Erasure { user, head, up_to, rows, bytes, erased: args.apply.yes })
}

/// Rows up to a place, and bytes of what they hold.
async fn count(mailbox: &dyn Mailbox, user: UserId, up_to: Seq) -> Outcome<(u64, u64)> {
    let (mut rows, mut bytes) = (0, 0);
    let mut after = Seq::ZERO;
    loop {
        let range = Range { user, after, up_to, rows_max: PAGE_ROWS, bytes_max: PAGE_BYTES };
        let Rows { rows: page, more } =
            mailbox.read(range).await.map_err(|error| store_failed(&error))?;
        rows += page.len() as u64;
        bytes += page.iter().map(|row| row.item.len() as u64).sum::<u64>();
        match page.last() {
            Some(last) if more => after = last.seq,
            Some(_) | None => return Ok((rows, bytes)),
        }
    }
}

fn store_failed(error: &ports::StoreError) -> Failure {
    Failure::new(Code::EngineFailed, error.to_string())
        .at("the mailboxes")
        .remedy("give the command again; `posthorn check` tells what is wrong with the engine")
}

fn text(erasure: &Erasure, wanted: Option<u64>) -> String {
    let Erasure { user, head, up_to, rows, bytes, erased } = erasure;
    if *head == 0 {
        return format!("The mailbox of {user} never had a message: nothing is to be erased.\n");
    }
    let mut text = format!("The mailbox of {user} ends at {head}.\n");
    if wanted.is_some_and(|wanted| wanted > *head) {
        text.push_str("What is above that is still to come and is not erased.\n");
    }
    let what = format!("{rows} messages and changes, {bytes} bytes, up to and including {up_to}");
    text.push_str(&match erased {
        true => format!("Erased: {what}.\n"),
        false => format!(
            "To be erased: {what}.\nThis was a dry run: nothing was changed. The same with --yes \
             erases it for good.\n"
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(yes: bool, up_to: Option<u64>) -> EraseArgs {
        EraseArgs {
            user_id: None,
            subject: Some("alice".to_owned()),
            issuer: None,
            up_to,
            apply: ApplyArgs { yes },
            node: NodeArgs { config: None, set: vec![] },
            output: OutputArgs { format: Format::Text },
        }
    }

    /// An engine with so many rows of alice, at 10, 20 and so on.
    async fn engine(directory: &std::path::Path, rows: u64) -> (embedded::Engine, UserId) {
        let config = embedded::EngineConfig::new(directory);
        let engine = embedded::Engine::open(config, crate::clock::wall_clock_ms).unwrap();
        let user = name::user_id("https://i", "alice");
        let now = crate::clock::wall_clock_ms();
        let row = |number| ports::mailbox::Row {
            user,
            seq: Seq::from_u64(number * 10),
            log_time_ms: now,
            expires_ms: now + 1_000_000,
            item: bytes::Bytes::from_static(b"12345"),
        };
        let batch = ports::mailbox::Batch { rows: (1..=rows).map(row).collect(), marks: vec![] };
        engine.engines().mailbox.append(batch).await.unwrap();
        (engine, user)
    }

    #[tokio::test]
    async fn a_dry_run_counts_and_changes_nothing_and_yes_erases_up_to_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, user) = engine(folder.path(), 2500).await;
        let mailbox = engine.engines().mailbox;
        let dry = erase(mailbox.as_ref(), user, &args(false, None)).await.unwrap();
        assert_eq!((dry.rows, dry.bytes, dry.head, dry.erased), (2500, 12_500, 25_000, false));
        let some = erase(mailbox.as_ref(), user, &args(true, Some(10_005))).await.unwrap();
        assert_eq!((some.rows, some.up_to, some.erased), (1000, 10_005, true));
        let rest = erase(mailbox.as_ref(), user, &args(true, None)).await.unwrap();
        assert_eq!(rest.rows, 1500);
        let none = erase(mailbox.as_ref(), user, &args(true, None)).await.unwrap();
        assert_eq!((none.rows, none.head), (0, 25_000));
    }

    #[tokio::test]
    async fn what_is_still_to_come_is_not_erased() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, user) = engine(folder.path(), 2).await;
        let mailbox = engine.engines().mailbox;
        let erased = erase(mailbox.as_ref(), user, &args(true, Some(1000))).await.unwrap();
        assert_eq!(erased.up_to, 20);
        assert!(text(&erased, Some(1000)).contains("still to come"));
    }

    #[test]
    fn a_user_is_named_by_id_or_by_issuer_and_subject() {
        let by_name = name::user_id("https://i", "alice");
        assert_eq!(user(&args(false, None), "https://i").unwrap(), by_name);
        let by_id =
            EraseArgs { user_id: Some(by_name.to_string()), subject: None, ..args(false, None) };
        assert_eq!(user(&by_id, "").unwrap(), by_name);
        assert_eq!(user(&args(false, None), "").unwrap_err().code(), Code::SettingMissing);
        let wrong = EraseArgs { user_id: Some("alice".to_owned()), ..args(false, None) };
        assert_eq!(user(&wrong, "").unwrap_err().code(), Code::BadName);
    }
}
