//! As much HTTP as an operators' listener needs: one question, one answer.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The longest answer that is read, bytes; what comes after is cut off.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks, for one `GET`, the server at `address` (`host:port`) for `path`.
///
/// # Errors
/// When there is no whole answer `within`.
///
/// # Cancel safety
/// A dropped call may have asked.
pub(crate) async fn ask(
    method: &str,
    address: &str,
    path: &str,
    within: Duration,
) -> anyhow::Result<Answer> {
    let answer = timeout(within, exchange(method, address, path)).await;
    let answer = answer.with_context(|| format!("{address} did not answer within {within:?}"))?;
    answer.with_context(|| format!("{method} http://{address}{path}"))
}

async fn exchange(method: &str, address: &str, path: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0 has no chunks: the body is what comes until the end.
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> anyhow::Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is cut off")?;
    ensure!(head.starts_with("HTTP/1."), "that is no HTTP server");
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.context("the answer has no status")?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot ready\n").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "not ready\n".into() });
        assert!(parse("HTTP/1.0 200").is_err());
        assert!(parse("SSH-2.0\r\n\r\n").unwrap_err().to_string().contains("no HTTP"));
    }
}
