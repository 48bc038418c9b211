//! The command line: what can be typed, and the help that says so.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    catalogue::Code,
    command::{
        admin::{self, AdminCommand},
        check::{self, CheckArgs},
    },
    exit::Exit,
};

/// Where a development cluster is kept when nothing else is said.
pub const DATA_DEFAULT: &str = "./posthorn-data";

/// Routes messages between devices: a cluster in one program, and the commands to try it.
///
/// Start with `posthorn demo`: it routes a conversation through a real cluster and compares what
/// every device received with what was accepted. `posthorn dev` starts a lasting cluster on this
/// machine; send, recv, chat, group, device and history then talk to it from other terminals.
#[derive(Debug, Parser)]
#[command(name = "posthorn", version, after_help = Exit::help(), propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Route a conversation through a cluster and check that nothing was lost
    ///
    /// Starts a cluster with embedded engines in a temporary folder, connects two devices for every
    /// person over QUIC on loopback, sends the messages of the input, and compares what each device
    /// received with what was accepted. The second device of everybody is away for the middle third
    /// and catches up from its cursor. Ends with 0 only if nothing was lost, duplicated, reordered
    /// or corrupted, otherwise with 6.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Run a lasting cluster on this machine for development
    ///
    /// Makes its own certificate authority and identity provider in the data folder at the first
    /// start, and keeps everything there. Ctrl-C drains and ends; a second Ctrl-C ends at once and
    /// loses nothing that was accepted.
    #[command(after_help = DEV_EXAMPLES)]
    Dev(DevArgs),
    /// Run the roles of a configuration, as an operator does
    ///
    /// Settings come from the file, then from variables POSTHORN__SECTION__KEY, then from --set.
    /// SIGTERM and Ctrl-C drain: accept nothing new, send clients elsewhere, finish what is in
    /// flight, flush, end. A second one ends at once and loses nothing that was accepted.
    #[command(after_help = NODE_EXAMPLES)]
    Node(NodeArgs),
    /// Send messages: one given as an argument, or lines of standard input
    ///
    /// Every line of standard input is a message; blank lines are passed over. Lines are sent
    /// without waiting for each other's answer, in order. Ends when all are accepted, which means
    /// durable, and says how many. A message that was not accepted when the program ends early is
    /// sent by the next
    /// `send` of the same device, first.
    #[command(after_help = SEND_EXAMPLES)]
    Send(SendArgs),
    /// Print the messages that wait, and acknowledge them
    ///
    /// A message is acknowledged after it was printed. Without --follow it ends when the mailbox is
    /// empty. A JSON line has `from`, `to`, `seq` and `text`, or `base64` for bytes that are not
    /// text. Changes of groups and devices are told on standard error.
    #[command(after_help = RECV_EXAMPLES)]
    Recv(RecvArgs),
    /// Chat with a person or a group on this terminal
    ///
    /// A line is a message. What comes from others is printed as it comes, also from other
    /// conversations. Ctrl-D ends.
    #[command(after_help = CHAT_EXAMPLES)]
    Chat(ChatArgs),
    /// Create, change, leave or show a group
    #[command(subcommand, after_help = GROUP_EXAMPLES)]
    Group(GroupCommand),
    /// List or revoke the devices of a person
    #[command(subcommand, after_help = DEVICE_EXAMPLES)]
    Device(DeviceCommand),
    /// Print older messages of a mailbox, without acknowledging anything
    #[command(after_help = HISTORY_EXAMPLES)]
    History(HistoryArgs),
    /// Print the default configuration, check one, or print the reference
    #[command(subcommand, after_help = CONFIG_EXAMPLES)]
    Config(ConfigCommand),
    /// Look at everything a cluster needs, from where this program stands
    ///
    /// Tries the settings, this machine, certificates, the identity provider and every engine, and
    /// says what is wrong and what to do. Nothing is changed, and it may run beside a cluster. Ends
    /// with 0 when nothing is wrong, otherwise with 7.
    #[command(after_help = check::EXAMPLES)]
    Check(CheckArgs),
    /// Do what an operator does to a cluster
    #[command(subcommand, after_help = admin::EXAMPLES)]
    Admin(AdminCommand),
    /// Explain an error by its code, or list all of them
    #[command(after_help = "Examples:\n  posthorn explain PH0401\n  posthorn explain")]
    Explain(ExplainArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: JSON, one object a line.
    Json,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// How results are printed
    #[arg(short = 'o', long, value_enum, default_value_t)]
    pub format: Format,
}

/// Which cluster, and who one is there.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Who you are. A development cluster believes it; elsewhere the token says it
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Which of your devices this is; each keeps its own key, place and outbox
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Folder of the development cluster; device stores are kept below it in any case
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
    /// Another cluster than the development one
    #[arg(long, value_name = "HOST:PORT", requires = "token_file")]
    pub server: Option<String>,
    /// PEM file with the authorities that may vouch for the server [default: the system's]
    #[arg(long, value_name = "FILE", requires = "server")]
    pub ca: Option<PathBuf>,
    /// File with a token of the identity provider; read again when a fresh one is needed
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// JSON Lines or plain text; without it a conversation is made up
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    pub data: PathBuf,
    /// Address and UDP port for clients; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    pub listen: SocketAddr,
    /// Address and TCP port of the admin listener; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4434")]
    pub admin: SocketAddr,
    /// Change any setting, as often as needed
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `node`, and of `config check`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The configuration, TOML
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change any setting, as often as needed
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// A person, or '#group'
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// Keep it this long at most, such as 10m or 7d [default: as long as the cluster keeps
    /// anything]
    #[arg(long, value_name = "DURATION")]
    pub keep: Option<String>,
    /// The message; without it every line of standard input is one
    pub text: Option<String>,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `recv`.
#[derive(Debug, Args)]
pub struct RecvArgs {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Stay and print what comes
    #[arg(short, long)]
    pub follow: bool,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `chat`.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// A person, or '#group'
    #[arg(long, value_name = "NAME")]
    pub with: String,
}

/// What can be done with a group.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Create a group; you are its admin
    Create(GroupMembersArgs),
    /// Add members; for admins
    Add(GroupMembersArgs),
    /// Remove members; for admins
    Remove(GroupMembersArgs),
    /// Make a member an admin, or an admin a member; for admins
    Role(GroupRoleArgs),
    /// Leave a group
    Leave(GroupArgs),
    /// Show the members; for members
    Show(GroupArgs),
}

/// A group.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// The group, '#name'
    pub group: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A group and people.
#[derive(Debug, Args)]
pub struct GroupMembersArgs {
    /// The group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// People, by name
    pub members: Vec<String>,
}

/// A group, a member and a role.
#[derive(Debug, Args)]
pub struct GroupRoleArgs {
    /// The group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// Whose role
    pub member: String,
    /// The role
    #[arg(value_enum)]
    pub role: RoleArg,
}

/// A role in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// May change the group.
    Admin,
    /// May send, receive and leave.
    Member,
}

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// List the devices
    List(DeviceListArgs),
    /// Revoke a device for good; its connection ends within seconds
    Revoke(DeviceRevokeArgs),
}

/// Arguments of `device list`.
#[derive(Debug, Args)]
pub struct DeviceListArgs {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `device revoke`.
#[derive(Debug, Args)]
pub struct DeviceRevokeArgs {
    /// The device, by the id that `device list` shows
    pub id: String,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print at most so many, the newest ones
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub limit: u32,
    /// Only what is older than this place, as `seq` in JSON lines says
    #[arg(long, value_name = "SEQ")]
    pub before: Option<u64>,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What can be done with configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a file with every setting at its default, explained
    Default,
    /// Read a configuration and say what is wrong, without starting anything
    Check(NodeArgs),
    /// Print the reference of all settings, in Markdown
    Doc,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, such as PH0401; without it all are listed
    pub code: Option<String>,
}

const DEMO_EXAMPLES: &str = r##"Examples:
  posthorn demo
  posthorn demo --input talk.txt
  posthorn demo --input talk.jsonl --format json

Input, as JSON Lines:
  {"from":"alice","to":"bob","text":"hello"}
  {"from":"bob","to":"#team","text":"hello all"}
  {"group":"#team","members":["alice","bob","carol"]}
The members of a group are those who speak in it or are named so. As plain text, every line is a
message and two people speak in turn. Blank lines are passed over."##;

const DEV_EXAMPLES: &str = "Examples:
  posthorn dev
  posthorn dev --data /tmp/try --listen 127.0.0.1:0
  posthorn dev --set engine.mail_partitions=1 --set edge.head_check=5s";

const NODE_EXAMPLES: &str = "Examples:
  posthorn config default > posthorn.toml
  posthorn node --config posthorn.toml
  POSTHORN__LISTEN__ADDRESS=0.0.0.0:443 posthorn node --config posthorn.toml
  posthorn node --config posthorn.toml --set telemetry.format=json";

const SEND_EXAMPLES: &str = "Examples:
  posthorn send --as alice --to bob \"hello\"
  posthorn send --as alice --to '#team' \"hello all\"
  seq 1000 | posthorn send --as alice --to bob
  posthorn send --as alice --to bob --keep 10m \"read this soon\"
  posthorn send --server chat.example:4433 --token-file token.jwt --to bob \"hello\"";

const RECV_EXAMPLES: &str = "Examples:
  posthorn recv --as bob
  posthorn recv --as bob --follow
  posthorn recv --as bob --device laptop --format json | jq -r .text";

const CHAT_EXAMPLES: &str = "Examples:
  posthorn chat --as alice --with bob
  posthorn chat --as alice --with '#team'";

const GROUP_EXAMPLES: &str = "Examples:
  posthorn group create '#team' bob carol --as alice
  posthorn group add '#team' dave --as alice
  posthorn group role '#team' bob admin --as alice
  posthorn group remove '#team' carol --as alice
  posthorn group leave '#team' --as dave
  posthorn group show '#team' --as alice";

const DEVICE_EXAMPLES: &str = "Examples:
  posthorn device list --as alice
  posthorn device revoke 0123456789abcdef --as alice";

const HISTORY_EXAMPLES: &str = "Examples:
  posthorn history --as bob
  posthorn history --as bob -n 100 --format json
  posthorn history --as bob --before 4711";

const CONFIG_EXAMPLES: &str = "Examples:
  posthorn config default > posthorn.toml
  posthorn config check --config posthorn.toml
  posthorn config doc";

/// Every code with what it is about, one a line.
#[must_use]
pub fn list_of_errors() -> String {
    Code::ALL.iter().map(|code| format!("{code}  {}\n", code.title())).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_examples() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("posthorn "), "{} has no examples", command.get_name());
        }
    }
}
