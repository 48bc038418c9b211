//! Redis alone, as a cluster, and with sentinels.
//!
//! Nothing is kept on disk: what is in it is lost with the process, as Posthorn expects of it.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{
    ask,
    plan::{PASSWORD, Plan, text},
    progress::until,
    state::{Kind, Member, State},
};

/// What sentinels call the primary they watch.
pub(crate) const SERVICE: &str = "posthorn";

/// Primaries and as many replicas share the slots.
const CLUSTER_PORTS: [u16; 6] = [7101, 7102, 7103, 7104, 7105, 7106];
const WATCHED_PORTS: [u16; 2] = [7201, 7202];
const SENTINEL_PORTS: [u16; 3] = [7301, 7302, 7303];

const FORMED_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Lays out what was asked for.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn lay_out(plan: &Plan) -> anyhow::Result<Vec<Member>> {
    let mut members = vec![server(plan, "redis", Kind::Redis, 6379, "")?];
    if let Some(certificates) = &plan.certificates {
        let options = "--port 0 --tls-port 6380 --tls-auth-clients no";
        let mut member = server(plan, "redis-tls", Kind::RedisTls, 6380, options)?;
        let files = [
            ("--tls-cert-file", &certificates.certificate),
            ("--tls-key-file", &certificates.key),
            ("--tls-ca-cert-file", &certificates.ca),
        ];
        member.command.extend(["--requirepass", PASSWORD].map(str::to_owned));
        member.command.extend(files.into_iter().flat_map(|(name, file)| [name.into(), text(file)]));
        members.push(member);
    }
    if plan.wanted.redis_all {
        members.extend(cluster(plan)?);
        members.extend(watched(plan)?);
    }
    Ok(members)
}

fn cluster(plan: &Plan) -> anyhow::Result<Vec<Member>> {
    // A replica that never finished its first copy refuses to take over, so it begins at once.
    let options = "--cluster-enabled yes --cluster-config-file nodes.conf \
                   --cluster-node-timeout 1000 --repl-diskless-sync-delay 0";
    let member = |(index, port): (usize, &u16)| {
        let name = format!("redis-cluster-{}", index + 1);
        server(plan, &name, Kind::RedisCluster, *port, options)
    };
    CLUSTER_PORTS.iter().enumerate().map(member).collect()
}

fn watched(plan: &Plan) -> anyhow::Result<Vec<Member>> {
    let (host, delay) = (plan.block.address(1), "--repl-diskless-sync-delay 0");
    let [first, second] = WATCHED_PORTS;
    let replica = format!("{delay} --replicaof {host} {first}");
    let mut members = vec![
        server(plan, "redis-watched-1", Kind::RedisWatched, first, delay)?,
        server(plan, "redis-watched-2", Kind::RedisWatched, second, &replica)?,
    ];
    for (index, port) in SENTINEL_PORTS.iter().enumerate() {
        let name = format!("sentinel-{}", index + 1);
        let settings = format!(
            "port {port}\nbind {host}\nbind-source-addr {host}\nprotected-mode no\ndir {}\n\
             sentinel monitor {SERVICE} {host} {first} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            plan.data(&name)?.display()
        );
        // A sentinel writes what it learns into this file.
        let settings = plan.write(&format!("{name}.conf"), &settings)?;
        let command = vec!["redis-server".to_owned(), text(&settings), "--sentinel".to_owned()];
        let addresses = [("plain", format!("{host}:{port}"))];
        members.push(plan.member(&name, Kind::Sentinel, &addresses, command));
    }
    Ok(members)
}

fn server(plan: &Plan, name: &str, kind: Kind, port: u16, options: &str) -> anyhow::Result<Member> {
    let (host, data) = (plan.block.address(1), plan.data(name)?);
    let mut command = vec!["redis-server".to_owned(), "--dir".to_owned(), text(&data)];
    // Protected mode would refuse other addresses of this machine. What calls others must say its
    // own address: by itself it would call from 127.0.0.1, and they would answer there.
    let always = format!(
        "--bind {host} --bind-source-addr {host} --protected-mode no --appendonly no --port {port}"
    );
    command.extend(always.split_whitespace().map(str::to_owned));
    command.extend(["--save".to_owned(), String::new()]);
    command.extend(options.split_whitespace().map(str::to_owned));
    let listener = if kind == Kind::RedisTls { "tls" } else { "plain" };
    Ok(plan.member(name, kind, &[(listener, format!("{host}:{port}"))], command))
}

/// Whether one answers.
///
/// # Errors
/// Says what it waits for: try again.
pub(crate) fn is_ready(member: &Member) -> anyhow::Result<()> {
    if member.kind == Kind::RedisTls {
        // Nobody here speaks TLS to ask more.
        return ask::connect(member.address()).map(drop);
    }
    ask::redis(member.address(), &["PING"]).map(drop)
}

/// Makes a cluster of those that are to be one, and waits until sentinels know each other.
///
/// # Errors
/// When it does not come together.
pub(crate) fn form(state: &State) -> anyhow::Result<()> {
    let cluster: Vec<_> = state.of(Kind::RedisCluster).map(Member::address).collect();
    if !cluster.is_empty() {
        form_cluster(&cluster)?;
    }
    let is_aware = |sentinel: &Member| {
        let said = ask::redis(sentinel.address(), &["INFO", "sentinel"]).unwrap_or_default();
        said.contains("status=ok") && said.contains("slaves=1") && said.contains("sentinels=3")
    };
    let are_aware = || state.of(Kind::Sentinel).all(is_aware);
    ensure!(until(FORMED_WITHIN, are_aware), "the sentinels do not find each other");
    Ok(())
}

fn form_cluster(addresses: &[&str]) -> anyhow::Result<()> {
    let says = |address: &str, command: &[&str], what: &str| {
        ask::redis(address, command).is_ok_and(|said| said.contains(what))
    };
    let is_formed = |address: &&str| says(address, &["CLUSTER", "INFO"], "cluster_state:ok");
    if !addresses.iter().all(is_formed)
        && says(addresses[0], &["CLUSTER", "INFO"], "slots_assigned:0")
    {
        let output = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .context("redis-cli did not start")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "redis-cli --cluster create:\n{said}");
    }
    let are_formed = || addresses.iter().all(is_formed);
    ensure!(until(FORMED_WITHIN, are_formed), "the cluster of Redis does not come together");
    let has_link = |address: &&str| {
        let info = ["INFO", "replication"];
        says(address, &info, "role:master") || says(address, &info, "master_link_status:up")
    };
    let have_links = || addresses.iter().all(has_link);
    ensure!(until(FORMED_WITHIN, have_links), "a replica of Redis does not finish its first copy");
    Ok(())
}
