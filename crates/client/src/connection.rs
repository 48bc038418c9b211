//! One connection: its streams, and frames in and out of them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use link::{
    error::{Closed, LinkError, SetupError},
    quic::ClientEndpoint,
};
use tokio::time::timeout;
use wire::{
    DecodeError, codec,
    limits::{ITEM_BYTES_MAX, SERVER_FRAME_BYTES_MAX},
};

use crate::config::{Servers, Via};

/// The largest frame of the delivery stream.
const DELIVERY_FRAME_BYTES_MAX: usize = ITEM_BYTES_MAX + 1024;
/// A connection whose control stream has ended says why within this.
const REASON_WITHIN: Duration = Duration::from_secs(1);
/// With several servers the next one is tried after this: a dead one does not even refuse.
const NEXT_AFTER: Duration = Duration::from_secs(4);
/// Names are looked up within this.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

/// Where connections come from.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    Quic { socket: ClientEndpoint, is_shared: bool },
    Memory,
}

impl Network {
    pub(crate) fn open(servers: &Servers) -> Result<Self, SetupError> {
        Ok(match servers {
            Servers::Quic { via: Via::Own(roots), .. } => {
                Self::Quic { socket: ClientEndpoint::bind(roots.clone())?, is_shared: false }
            }
            Servers::Quic { via: Via::Shared(endpoint), .. } => {
                Self::Quic { socket: endpoint.socket()?, is_shared: true }
            }
            Servers::Memory { .. } => Self::Memory,
        })
    }

    pub(crate) fn rebind(&self) -> Result<(), SetupError> {
        match self {
            Self::Quic { socket, .. } => socket.rebind(),
            Self::Memory => Ok(()),
        }
    }

    /// Connects to one of the servers; the higher the attempt, the further in the list.
    pub(crate) async fn dial(
        &self,
        servers: &Servers,
        attempt: usize,
    ) -> Result<link::Connection, LinkError> {
        match (self, servers) {
            (Self::Quic { socket, .. }, Servers::Quic { addresses, server_name, .. }) => {
                let name = &addresses[attempt % addresses.len()];
                let unreachable = |problem: &dyn std::fmt::Display| {
                    LinkError::Unreachable(format!("{name}: {problem}"))
                };
                let found = timeout(LOOK_UP_WITHIN, tokio::net::lookup_host(name)).await;
                let found: Vec<_> = found
                    .map_err(|elapsed| unreachable(&elapsed))?
                    .map_err(|error| unreachable(&error))?
                    .collect();
                let Some(address) = found.get(attempt / addresses.len() % found.len().max(1))
                else {
                    return Err(unreachable(&"the name has no address"));
                };
                let connecting = socket.connect(*address, server_name);
                if addresses.len() == 1 {
                    return connecting.await;
                }
                timeout(NEXT_AFTER, connecting).await.unwrap_or(Err(LinkError::TimedOut))
            }
            (_, Servers::Memory { hub, names }) => hub.dial(&names[attempt % names.len()]).await,
            (Self::Memory, Servers::Quic { .. }) => {
                unreachable!("a network is opened for its servers")
            }
        }
    }

    /// Waits until closed connections have been told. A shared socket stays and sees to it.
    pub(crate) async fn wait_idle(&self, within: Duration) {
        if let Self::Quic { socket, is_shared: false } = self {
            let _ = timeout(within, socket.wait_idle()).await;
        }
    }
}

/// A connection and its streams.
#[derive(Debug)]
pub(crate) struct Live {
    connection: link::Connection,
    sender: link::Sender,
    receiver: link::Receiver,
    delivery: Option<link::Receiver>,
    control_in: BytesMut,
    delivery_in: BytesMut,
    /// What is to be written on the control stream.
    pub(crate) out: BytesMut,
}

/// What moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Written,
    Control,
    Delivery,
    Datagram(Bytes),
}

impl Live {
    pub(crate) async fn open(connection: link::Connection) -> Result<Self, LinkError> {
        let (sender, receiver) = connection.open_bi().await?;
        Ok(Self {
            connection,
            sender,
            receiver,
            delivery: None,
            control_in: BytesMut::new(),
            delivery_in: BytesMut::new(),
            out: BytesMut::new(),
        })
    }

    pub(crate) fn exporter(&self) -> [u8; wire::auth::EXPORTER_LEN] {
        self.connection.export_keying_material()
    }

    /// Waits until bytes have moved. Reads the delivery stream only when there is room for it.
    ///
    /// # Cancel safety
    /// A dropped call moved nothing.
    pub(crate) async fn moved(&mut self, may_deliver: bool) -> Result<Moved, LinkError> {
        let is_delivering = self.delivery.is_some();
        tokio::select! {
            biased;
            written = self.sender.write(&mut self.out), if !self.out.is_empty() => {
                written.map(|()| Moved::Written)
            }
            read = self.receiver.read(&mut self.control_in) => {
                if read? { Ok(Moved::Control) } else { Err(self.reason().await) }
            }
            stream = self.connection.accept_uni(), if may_deliver && !is_delivering => {
                self.delivery = Some(stream?);
                Ok(Moved::Delivery)
            }
            read = read(self.delivery.as_mut(), &mut self.delivery_in),
                if may_deliver && is_delivering =>
            {
                if read? { Ok(Moved::Delivery) } else { Err(self.reason().await) }
            }
            datagram = self.connection.read_datagram() => Ok(Moved::Datagram(datagram?)),
        }
    }

    /// The next whole frame of the control stream that has arrived.
    pub(crate) fn take_control(&mut self) -> Result<Option<Bytes>, DecodeError> {
        codec::take_frame(&mut self.control_in, SERVER_FRAME_BYTES_MAX)
    }

    /// The next whole frame of the delivery stream that has arrived.
    pub(crate) fn take_delivery(&mut self) -> Result<Option<Bytes>, DecodeError> {
        codec::take_frame(&mut self.delivery_in, DELIVERY_FRAME_BYTES_MAX)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.connection.close(code, reason);
    }

    /// Says that nothing more comes, and waits until the edge has read it all and closes.
    pub(crate) async fn finish(&mut self, within: Duration) {
        self.sender.finish();
        let _ = timeout(within, self.connection.closed()).await;
    }

    /// Why the edge ended its stream: it closes the connection next.
    async fn reason(&self) -> LinkError {
        let closed = timeout(REASON_WITHIN, self.connection.closed()).await;
        LinkError::Closed(closed.unwrap_or_else(|_| Closed {
            code: None,
            by_peer: true,
            reason: "the stream ended".into(),
        }))
    }
}

async fn read(
    receiver: Option<&mut link::Receiver>,
    buffer: &mut BytesMut,
) -> Result<bool, LinkError> {
    match receiver {
        Some(receiver) => receiver.read(buffer).await,
        None => std::future::pending().await,
    }
}
