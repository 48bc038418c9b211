//! Asks an engine, in its own protocol, whether it answers and whom it knows.
//!
//! By hand, because this program knows no client library: three questions, a few dozen bytes each.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

/// No answer is longer; a port that speaks another protocol must not make us wait for gigabytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(3);

/// The ids of the brokers that the broker at `address` knows to be alive.
///
/// # Errors
/// When it does not answer: try again.
pub(crate) fn kafka_brokers(address: &str) -> anyhow::Result<Vec<i32>> {
    let mut stream = connect(address)?;
    // Metadata, version 1, correlation 1, no client id, no topics.
    let question = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
    stream.write_all(&with_length(&question))?;
    let length = read::<4>(&mut stream)?;
    let answer = read_long(&mut stream, u32::from_be_bytes(length))?;
    parse_brokers(&answer)
}

fn parse_brokers(answer: &[u8]) -> anyhow::Result<Vec<i32>> {
    let mut rest = Bytes(answer);
    ensure!(rest.int()? == 1, "an answer to another question");
    let count = rest.int()?;
    (0..count)
        .map(|_| {
            let id = rest.int()?;
            rest.short_text()?;
            rest.int()?;
            rest.short_text()?;
            Ok(id)
        })
        .collect()
}

/// What a node of Cassandra knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// Nodes, itself included.
    pub(crate) nodes: usize,
    /// Whether all of them have the same schema.
    pub(crate) agrees: bool,
}

/// The ring as the node at `address` sees it.
///
/// # Errors
/// When it does not answer: try again.
pub(crate) fn cassandra_ring(address: &str) -> anyhow::Result<Ring> {
    let mut stream = connect(address)?;
    // STARTUP with a map of one pair; 2 is READY.
    let startup = [&[0, 1][..], &cql_text("CQL_VERSION"), &cql_text("3.0.0")].concat();
    ensure!(cql(&mut stream, 1, &startup)?.0 == 2, "wants a password");
    let own = cql_column(&mut stream, "SELECT schema_version FROM system.local")?;
    let others = cql_column(&mut stream, "SELECT schema_version FROM system.peers_v2")?;
    let agrees = own.len() == 1 && others.iter().all(|version| *version == own[0]);
    Ok(Ring { nodes: own.len() + others.len(), agrees })
}

/// A request of the native protocol, version 4, and its answer: code and body.
fn cql(stream: &mut TcpStream, code: u8, body: &[u8]) -> anyhow::Result<(u8, Vec<u8>)> {
    stream.write_all(&[&[4, 0, 0, 0, code][..], &with_length(body)].concat())?;
    let header = read::<9>(stream)?;
    let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    Ok((header[4], read_long(stream, length)?))
}

/// The first column of a query's rows.
fn cql_column(stream: &mut TcpStream, query: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let length = u32::try_from(query.len()).expect("our queries are short");
    // Consistency ONE, no flags.
    let body = [&length.to_be_bytes()[..], query.as_bytes(), &[0, 1, 0]].concat();
    let (code, answer) = cql(stream, 7, &body)?;
    ensure!(code == 8, "answers {query} with {code}");
    parse_column(&answer)
}

fn parse_column(answer: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut rest = Bytes(answer);
    let (kind, flags, columns) = (rest.int()?, rest.int()?, rest.int()?);
    // The flag says that keyspace and table stand once, before the columns.
    ensure!(kind == 2 && flags == 1 && columns == 1, "not one column of rows");
    for _keyspace_table_and_column in 0..3 {
        rest.short_text()?;
    }
    let _type_of_column = rest.take(2)?;
    (0..rest.int()?)
        .map(|_| {
            let len = usize::try_from(rest.int()?).unwrap_or(0);
            Ok(rest.take(len)?.to_vec())
        })
        .collect()
}

fn cql_text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("our words are short");
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

/// What a Redis answers to a command, as it stands in the protocol; only its first 64 KB.
///
/// # Errors
/// When it does not answer: try again.
pub(crate) fn redis(address: &str, command: &[&str]) -> anyhow::Result<String> {
    let mut stream = connect(address)?;
    let mut question = format!("*{}\r\n", command.len());
    for word in command {
        question += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    while !is_whole(&answer) && answer.len() < 1 << 16 {
        let mut part = [0; 4096];
        let len = stream.read(&mut part)?;
        ensure!(len > 0, "hung up");
        answer.extend_from_slice(&part[..len]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.strip_prefix('-') {
        Some(error) => bail!("{}", error.trim_end()),
        None => Ok(answer),
    }
}

/// A line, or a text with its length before it; nothing longer is asked for.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(2).position(|bytes| bytes == b"\r\n") else { return false };
    let first = String::from_utf8_lossy(&answer[..end]);
    let len = first.strip_prefix('$').and_then(|len| len.parse::<usize>().ok());
    len.is_none_or(|len| answer.len() >= end + 2 + len + 2)
}

/// Connects.
///
/// # Errors
/// When nobody listens: try again.
pub(crate) fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let address: SocketAddr = address.parse().context("no address")?;
    let stream = TcpStream::connect_timeout(&address, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("our questions are short");
    [&length.to_be_bytes(), body].concat()
}

fn read<const LEN: usize>(stream: &mut TcpStream) -> anyhow::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_long(stream: &mut TcpStream, length: u32) -> anyhow::Result<Vec<u8>> {
    let len = usize::try_from(length)?;
    ensure!(len <= ANSWER_BYTES_MAX, "speaks another protocol");
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What is left of an answer.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).context("an answer cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A text with its length in two bytes before it, negative for none.
    fn short_text(&mut self) -> anyhow::Result<&'a [u8]> {
        let len = i16::from_be_bytes(self.take(2)?.try_into()?);
        self.take(usize::try_from(len).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn brokers_are_counted_with_and_without_a_rack() {
        let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 2];
        answer.extend([0, 0, 0, 1, 0, 1, b'h', 0, 0, 0x23, 0x84, 0xff, 0xff]);
        answer.extend([0, 0, 0, 3, 0, 1, b'h', 0, 0, 0x23, 0x84, 0, 1, b'r']);
        assert_eq!(parse_brokers(&answer).unwrap(), [1, 3]);
        assert!(parse_brokers(&answer[..20]).is_err(), "cut short");
    }

    #[test]
    fn a_column_may_hold_nothing() {
        let mut answer = vec![0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1];
        answer.extend([0, 1, b'k', 0, 1, b't', 0, 1, b'c', 0, 12, 0, 0, 0, 2]);
        answer.extend([0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(parse_column(&answer).unwrap(), [vec![7], vec![]]);
        assert!(parse_column(&[0, 0, 0, 1]).is_err(), "no rows");
    }

    #[test]
    fn an_answer_of_redis_is_whole_with_its_last_line() {
        assert!(is_whole(b"+PONG\r\n"));
        assert!(!is_whole(b"+PON"));
        assert!(!is_whole(b"$5\r\nhel"));
        assert!(is_whole(b"$5\r\nhello\r\n"));
    }
}
