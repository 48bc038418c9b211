//! Brokers of Apache Kafka, each a controller too.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{
    ask, jars, machine,
    plan::{PASSWORD, Plan, USER, fill, text},
    state::{Kind, Member},
};

const SERVER: &str = include_str!("../../engines/kafka/server.properties");
const LOGGING: &str = include_str!("../../engines/kafka/log4j2.yaml");
const JAVA: &str = include_str!("../../engines/kafka/java.args");

/// Lays out the brokers and formats their folders.
///
/// # Errors
/// When jars are missing or a folder cannot be formatted.
pub(crate) fn lay_out(plan: &Plan) -> anyhow::Result<Vec<Member>> {
    let jars = jars::KAFKA.get(plan.progress, "kafka")?;
    let class_path = format!("{}/*", jars.display());
    plan.write("log4j2.yaml", LOGGING)?;
    plan.write("kafka.java.args", JAVA)?;
    let cluster = cluster_id(machine::random()?);
    plan.progress.say("kafka", "formatting the folders of the brokers");
    std::thread::scope(|scope| {
        let brokers = (1..=plan.wanted.nodes).map(|id| {
            let (cluster, class_path) = (&cluster, &class_path);
            scope.spawn(move || lay_out_one(plan, id, cluster, class_path))
        });
        let brokers: Vec<_> = brokers.collect();
        brokers
            .into_iter()
            .map(|broker| broker.join().expect("a broker's layout panicked"))
            .collect()
    })
}

fn lay_out_one(plan: &Plan, id: u8, cluster: &str, class_path: &str) -> anyhow::Result<Member> {
    let name = format!("kafka-{id}");
    let data = plan.data(&name)?;
    let settings = plan.write(&format!("{name}.properties"), &settings(plan, id, &text(&data)))?;
    let options = plan.dir.join("conf/kafka.java.args");
    let logging = plan.dir.join("conf/log4j2.yaml");
    let java = |heap_mb: u16, main: &str| -> Vec<String> {
        vec![
            text(&plan.java),
            format!("@{}", options.display()),
            format!("-Xmx{heap_mb}m"),
            format!("-Dlog4j2.configurationFile={}", logging.display()),
            "-cp".to_owned(),
            class_path.to_owned(),
            main.to_owned(),
        ]
    };
    let mut format = java(128, "kafka.tools.StorageTool");
    format.extend(["format", "-t", cluster, "-c"].map(str::to_owned));
    format.push(text(&settings));
    if plan.wanted.secured {
        let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        format.extend(["--add-scram".to_owned(), user]);
    }
    let output = Command::new(&format[0]).args(&format[1..]).output().context("java")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} could not be formatted:\n{said}");
    // One broker serves whole suites; three share a small machine.
    let mut command = java(if plan.wanted.nodes == 1 { 256 } else { 160 }, "kafka.Kafka");
    command.push(text(&settings));
    Ok(plan.member(&name, Kind::Kafka, &addresses(plan, id), command))
}

fn addresses(plan: &Plan, id: u8) -> Vec<(&'static str, String)> {
    let host = plan.block.address(id);
    let mut all = vec![("plain", format!("{host}:9092")), ("controller", format!("{host}:9093"))];
    all.extend(plan.wanted.secured.then(|| ("tls", format!("{host}:9094"))));
    all
}

/// `server.properties` of one broker.
fn settings(plan: &Plan, id: u8, data: &str) -> String {
    let nodes = plan.wanted.nodes;
    let host = |id| plan.block.address(id);
    let voters: Vec<_> = (1..=nodes).map(|id| format!("{id}@{}:9093", host(id))).collect();
    let values = [
        ("ID", id.to_string()),
        ("VOTERS", voters.join(",")),
        ("DATA", data.to_owned()),
        ("REPLICATION", nodes.to_string()),
        ("IN_SYNC", if nodes == 1 { "1" } else { "2" }.to_owned()),
    ];
    let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut settings = fill(SERVER, &values);
    let here = host(id);
    let plain = format!("PLAINTEXT://{here}:9092");
    let (mut listeners, mut told) = (format!("{plain},CONTROLLER://{here}:9093"), plain);
    if let Some(certificates) = &plan.certificates {
        let secured = format!(",SECURED://{here}:9094");
        listeners += &secured;
        told += &secured;
        settings += &format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.secured.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.secured.ssl.keystore.type=PKCS12\n\
             listener.name.secured.ssl.keystore.location={}\n\
             listener.name.secured.ssl.keystore.password={PASSWORD}\n\
             listener.name.secured.ssl.key.password={PASSWORD}\n",
            certificates.store.display()
        );
    }
    settings + &format!("listeners={listeners}\nadvertised.listeners={told}\n")
}

/// 16 bytes in the alphabet of base64 without padding, which 21 hexadecimal digits and an A are.
fn cluster_id(random: [u8; 16]) -> String {
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}A", &digits[..21])
}

/// Whether a broker serves: its cluster counts it, and all that are expected.
///
/// # Errors
/// Says what it waits for: try again.
pub(crate) fn is_ready(member: &Member, expected: usize) -> anyhow::Result<()> {
    let known = ask::kafka_brokers(member.address())?;
    let id = member.name.rsplit('-').next().and_then(|id| id.parse::<i32>().ok());
    ensure!(id.is_some_and(|id| known.contains(&id)), "its cluster does not count it yet");
    ensure!(known.len() >= expected, "it knows {} of {expected} brokers", known.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_cluster_is_16_bytes_of_base64() {
        assert_eq!(cluster_id([0xab; 16]), "ababababababababababaA");
    }
}
