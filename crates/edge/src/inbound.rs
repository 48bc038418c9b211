//! Pushes from workers and hints from other edges, over the mesh.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::{Bytes, BytesMut};
use link::{Connection, MeshListener, Receiver};
use tokio::task::JoinSet;
use wire::{DecodeError, codec::take_frame, limits::MESH_FRAME_BYTES_MAX, mesh::MeshFrame};

use crate::{edge::Shared, routes::Pushed, signals};

/// Streams read at once over one link.
const STREAMS_MAX: usize = 16;
/// Close code towards a peer that does not speak the mesh protocol.
const MESH_PROTOCOL_ERROR: u32 = 2;

/// What a link has carried: a link of another edge has hints only, and nothing is lost with it.
#[derive(Default)]
struct Carried {
    pushes: AtomicBool,
    hints: AtomicBool,
}

/// Takes links of workers and other edges until dropped.
pub(crate) async fn listen(shared: Arc<Shared>, mut mesh: MeshListener) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = links.join_next(), if !links.is_empty() => {}
            connection = mesh.accept() => match connection {
                Some(connection) => {
                    links.spawn(serve(shared.clone(), connection));
                }
                None => break,
            },
        }
    }
    while links.join_next().await.is_some() {}
}

/// Reads one link until it ends. What its worker had for this edge may then be lost, so the
/// mailboxes are compared soon.
async fn serve(shared: Arc<Shared>, connection: Connection) {
    let mut streams = JoinSet::new();
    let carried = Arc::<Carried>::default();
    loop {
        tokio::select! {
            biased;
            Some(read) = streams.join_next(), if !streams.is_empty() => {
                if let Ok(Err(error)) = read {
                    tracing::warn!(%error, "a peer sent what is not a frame of the mesh");
                    connection.close(MESH_PROTOCOL_ERROR, "not a frame");
                    break;
                }
            }
            stream = connection.accept_uni(), if streams.len() < STREAMS_MAX => match stream {
                Ok(stream) => {
                    streams.spawn(read(shared.clone(), carried.clone(), stream));
                }
                Err(_) => break,
            },
        }
    }
    if carried.hints.load(Ordering::Relaxed) && !carried.pushes.load(Ordering::Relaxed) {
        return;
    }
    shared.metrics.mesh_broken.inc();
    shared.check_soon.notify_one();
}

async fn read(
    shared: Arc<Shared>,
    carried: Arc<Carried>,
    mut stream: Receiver,
) -> Result<(), DecodeError> {
    let mut input = BytesMut::new();
    while let Ok(true) = stream.read(&mut input).await {
        while let Some(bytes) = take_frame(&mut input, MESH_FRAME_BYTES_MAX)? {
            let frame = MeshFrame::decode(bytes)?;
            let of_edge = !frame.signals.is_empty();
            let kind = if of_edge { &carried.hints } else { &carried.pushes };
            kind.store(true, Ordering::Relaxed);
            hand_out(&shared, frame);
        }
    }
    Ok(())
}

fn hand_out(shared: &Shared, frame: MeshFrame) {
    let metrics = &shared.metrics;
    for mut push in frame.pushes {
        // An item that waits must not keep the frame it came in, which may be much larger.
        push.deliver.item = Bytes::copy_from_slice(&push.deliver.item);
        for route in push.routes {
            match shared.routes.push(push.user, route, push.deliver.clone()) {
                Pushed::Taken => metrics.pushes.inc(),
                Pushed::Overflow => metrics.push_overflow.inc(),
                Pushed::Stray => metrics.push_stray.inc(),
            }
        }
    }
    for signal in frame.signals {
        signals::hand_out(shared, signal);
    }
    if frame.lost {
        metrics.mesh_lost.inc();
        shared.check_soon.notify_one();
    }
}
