//! Between the driver and the database: loses requests and answers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

const HEADER_LEN: usize = 9;
const REGISTER: u8 = 0x0B;
pub(crate) const EXECUTE: u8 = 0x0A;
pub(crate) const BATCH: u8 = 0x0D;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never arrives.
    LoseRequest,
    /// It is done, and the answer never arrives.
    LoseAnswer,
    /// It is done, and the answer is that it timed out.
    AnswerTimeout,
    /// It is done, and the connection ends instead of an answer.
    Cut,
}

/// The next requests of these kinds, and what happens to them.
#[derive(Clone, Debug)]
struct Plan {
    fault: Fault,
    opcodes: &'static [u8],
    times: usize,
}

/// A relay before each node; it ends when it is dropped.
pub(crate) struct Relay {
    addresses: Vec<SocketAddr>,
    plan: Arc<Mutex<Option<Plan>>>,
    tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(nodes: Vec<SocketAddr>) -> Self {
        let plan = Arc::default();
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        for node in nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tasks.spawn(accept(listener, node, Arc::clone(&plan)));
        }
        Self { addresses, plan, tasks }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The next `times` requests of these kinds meet a fault.
    pub(crate) fn fail(&self, fault: Fault, opcodes: &'static [u8], times: usize) {
        *self.plan.lock().unwrap() = Some(Plan { fault, opcodes, times });
    }

    pub(crate) fn heal(&self) {
        *self.plan.lock().unwrap() = None;
    }

    /// Ends all connections and takes no more.
    pub(crate) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, node: SocketAddr, plan: Arc<Mutex<Option<Plan>>>) {
    let mut pairs = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let plan = Arc::clone(&plan);
        pairs.spawn(async move {
            let Ok(server) = TcpStream::connect(node).await else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let doomed = Arc::<Mutex<HashMap<[u8; 2], Fault>>>::default();
            let known = Arc::clone(&doomed);
            // Either end ends both.
            tokio::select! {
                _ = requests(from_client, to_server, plan, known) => {}
                _ = answers(from_server, to_client, doomed) => {}
            }
        });
    }
}

async fn read_frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_LEN];
    from.read_exact(&mut frame).await?;
    let len = u32::from_be_bytes(frame[5..9].try_into().unwrap());
    frame.resize(HEADER_LEN + usize::try_from(len).unwrap(), 0);
    from.read_exact(&mut frame[HEADER_LEN..]).await?;
    Ok(frame)
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Option<Plan>>>,
    doomed: Arc<Mutex<HashMap<[u8; 2], Fault>>>,
) -> std::io::Result<()> {
    let mut is_control = false;
    loop {
        let frame = read_frame(&mut from).await?;
        // The driver's own connection hears of events; it is left alone.
        is_control |= frame[4] == REGISTER;
        if !is_control && let Some(fault) = next_fault(&plan, frame[4]) {
            if fault == Fault::LoseRequest {
                continue;
            }
            doomed.lock().unwrap().insert([frame[2], frame[3]], fault);
        }
        to.write_all(&frame).await?;
    }
}

fn next_fault(plan: &Mutex<Option<Plan>>, opcode: u8) -> Option<Fault> {
    let mut plan = plan.lock().unwrap();
    let next = plan.as_mut().filter(|next| next.times > 0 && next.opcodes.contains(&opcode))?;
    next.times -= 1;
    Some(next.fault)
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    doomed: Arc<Mutex<HashMap<[u8; 2], Fault>>>,
) -> std::io::Result<()> {
    loop {
        let frame = read_frame(&mut from).await?;
        let stream = [frame[2], frame[3]];
        let fault = doomed.lock().unwrap().remove(&stream);
        match fault {
            None => to.write_all(&frame).await?,
            Some(Fault::AnswerTimeout) => to.write_all(&write_timeout(stream)).await?,
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::LoseAnswer | Fault::LoseRequest) => {}
        }
    }
}

/// An error frame: a write of a quorum was seen by one of two copies.
fn write_timeout(stream: [u8; 2]) -> Vec<u8> {
    let mut body = 0x1100_u32.to_be_bytes().to_vec();
    let text = |body: &mut Vec<u8>, text: &str| {
        body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend(text.as_bytes());
    };
    text(&mut body, "made up");
    body.extend(6_u16.to_be_bytes());
    body.extend(1_u32.to_be_bytes());
    body.extend(2_u32.to_be_bytes());
    text(&mut body, "SIMPLE");
    let mut frame = vec![0x84, 0, stream[0], stream[1], 0];
    frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend(body);
    frame
}
