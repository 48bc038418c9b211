//! The listener for operators: `/livez`, `/readyz`, `/metrics` and `POST /drain`.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::Listener,
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// Connections at once; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// Pause after the system could not give a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the process should be given no traffic now; empty when it is ready.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the listener shows and does.
#[derive(Clone)]
pub struct Surface {
    /// The metrics.
    pub registry: Registry,
    /// Whether the process is ready.
    pub readiness: Readiness,
    /// Cancelled by `POST /drain`: as SIGTERM.
    pub drain: CancellationToken,
}

/// The listener, bound and not yet serving.
pub struct Admin {
    listener: Limited,
}

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// When the system refuses it.
    ///
    /// # Cancel safety
    /// Nothing stays bound.
    pub async fn bind(address: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::new(Code::CannotListen, format!("the admin listener: {error}"))
                .at(format!("TCP {address}"))
                .remedy(
                    "set admin.address to a free one (port 0 takes any), or admin.enabled to false",
                )
        })?;
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Self { listener: Limited { listener, permits } })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped; it keeps answering while the process drains.
    ///
    /// # Errors
    /// When the listener fails for good.
    ///
    /// # Cancel safety
    /// Requests under way are dropped.
    pub async fn serve(self, surface: Surface) -> io::Result<()> {
        axum::serve(self.listener, router(surface)).await
    }
}

fn router(surface: Surface) -> Router {
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/drain", post(drain))
        .with_state(surface)
}

async fn ready(State(surface): State<Surface>) -> Response {
    let mut reasons = (surface.readiness)();
    if surface.drain.is_cancelled() {
        reasons.insert(0, "draining".to_owned());
    }
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; ")))
        .into_response()
}

async fn metrics(State(surface): State<Surface>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&surface.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn drain(State(surface): State<Surface>) -> Response {
    tracing::info!("asked to drain through the admin listener");
    surface.drain.cancel();
    (StatusCode::ACCEPTED, "draining\n").into_response()
}

/// A listener with at most [`CONNECTIONS_MAX`] connections open.
struct Limited {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

/// A connection that gives its permit back when it ends.
struct Permitted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Listener for Limited {
    type Io = Permitted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Permitted, SocketAddr) {
        let permit = self.permits.clone().acquire_owned().await.expect("it is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (Permitted { stream, _permit: permit }, address),
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Permitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// One request; gives the status line and the body.
    async fn ask(surface: &Surface, request: &str) -> (String, String) {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = admin.address().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(admin.serve(surface.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn surface(reasons: &'static [&'static str]) -> Surface {
        Surface {
            registry: Registry::new(),
            readiness: Arc::new(|| reasons.iter().map(|one| (*one).to_owned()).collect()),
            drain: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_draining_process_is_live_and_not_ready() {
        let surface = surface(&[]);
        assert_eq!(ask(&surface, "GET /readyz").await.0, "HTTP/1.1 200 OK");
        let answer = ask(&surface, "POST /drain").await;
        assert_eq!(answer.0, "HTTP/1.1 202 Accepted");
        assert!(surface.drain.is_cancelled());
        let (status, body) = ask(&surface, "GET /readyz").await;
        assert_eq!(
            (status.as_str(), body.as_str()),
            ("HTTP/1.1 503 Service Unavailable", "not ready: draining\n")
        );
        assert_eq!(ask(&surface, "GET /livez").await.1, "live\n");
    }

    #[tokio::test]
    async fn reasons_for_not_being_ready_are_told() {
        let (status, body) = ask(&surface(&["no lease", "no log"]), "GET /readyz").await;
        assert!(status.contains("503"));
        assert_eq!(body, "not ready: no lease; no log\n");
    }

    #[tokio::test]
    async fn metrics_are_in_the_text_format() {
        let surface = surface(&[]);
        let counter = prometheus::IntCounter::new("posthorn_test_total", "A test.").unwrap();
        surface.registry.register(Box::new(counter)).unwrap();
        let (_, body) = ask(&surface, "GET /metrics").await;
        assert!(body.contains("posthorn_test_total 0"), "{body}");
    }

    #[tokio::test]
    async fn looking_does_not_drain() {
        let surface = surface(&[]);
        assert!(ask(&surface, "GET /drain").await.0.contains("405"));
        assert!(!surface.drain.is_cancelled());
    }
}
