//! An agent: waits for a coordinator, serves it for one run, and waits again.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use link::{Connection, MeshListener, Sender, mesh::QuicListener, tls::MeshIdentity};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    SILENCE_MAX,
    frame::{self, Frames},
    keys,
    message::{Answer, Order, Ordered, Report, VERSION},
    offset::Timepiece,
    session::Session,
};
use crate::measure::describe_machine;

/// What an agent needs.
#[derive(Debug)]
pub struct Settings {
    /// Where coordinators come.
    pub listen: SocketAddr,
    /// What it shows and trusts.
    pub identity: MeshIdentity,
    /// Where ledgers are written until the coordinator has them.
    pub folder: PathBuf,
    /// How wrong its clock is made, for trying out that it is corrected.
    pub clock_skew_ns: i64,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    listener: QuicListener,
    office: Arc<Office>,
}

/// What all connections to an agent share.
#[derive(Debug)]
struct Office {
    folder: PathBuf,
    timepiece: Timepiece,
    /// Who is served now. One run at a time.
    busy_with: Mutex<Option<String>>,
}

impl Office {
    fn busy_with(&self) -> MutexGuard<'_, Option<String>> {
        self.busy_with.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is served any more once this is dropped.
struct Busy(Arc<Office>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.busy_with() = None;
    }
}

impl Agent {
    /// Listens. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address is taken, or the keys do not fit.
    pub fn bind(settings: Settings) -> anyhow::Result<Self> {
        let Settings { listen, identity, folder, clock_skew_ns } = settings;
        let listener = QuicListener::bind(listen, identity, &[keys::COORDINATOR])?;
        let timepiece = Timepiece::start(clock_skew_ns);
        let office = Office { folder, timepiece, busy_with: Mutex::default() };
        Ok(Self { listener, office: Arc::new(office) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the socket has no address")
    }

    /// Serves one coordinator after the other until `stop`. `tell` hears what happens, in
    /// sentences.
    ///
    /// # Errors
    /// When the socket fails.
    ///
    /// # Cancel safety
    /// A dropped call cuts a run off; cancel `stop` instead.
    pub async fn serve(
        self,
        stop: CancellationToken,
        tell: impl Fn(String) + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let mut listener = MeshListener::Quic(self.listener);
        let mut runs = JoinSet::new();
        loop {
            let connection = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                connection = listener.accept() => connection.context("the socket is gone")?,
            };
            while runs.try_join_next().is_some() {}
            let (office, tell, stop) = (Arc::clone(&self.office), tell.clone(), stop.clone());
            runs.spawn(async move {
                let peer =
                    connection.remote_address().map_or_else(String::new, |it| it.to_string());
                match receive(&office, &connection, &peer, &stop, &tell).await {
                    Ok(()) => {}
                    Err(problem) => tell(format!("the run of {peer} ended early: {problem:#}")),
                }
            });
        }
        // Runs end in order, devices first.
        while runs.join_next().await.is_some() {}
        Ok(())
    }
}

/// Serves one connection to its end.
async fn receive(
    office: &Arc<Office>,
    connection: &Connection,
    peer: &str,
    stop: &CancellationToken,
    tell: &(impl Fn(String) + Sync),
) -> anyhow::Result<()> {
    let hello = timeout(SILENCE_MAX, async {
        let (sender, receiver) = connection.accept_bi().await?;
        let mut orders = Frames::<Ordered>::new(receiver);
        let first = orders.next().await?;
        anyhow::Ok((sender, orders, first))
    });
    let (mut sender, orders, first) = hello.await.context("it said nothing")??;
    let Some((Ordered { id, order: Order::Hello { version } }, _)) = first else {
        anyhow::bail!("it does not speak as a coordinator does");
    };
    let busy = match admit(office, version, peer) {
        Ok(busy) => busy,
        Err(why) => {
            tell(format!("{peer} was sent away: {why}"));
            answer(&mut sender, id, Err(why)).await?;
            // Whether it was heard is the other side's affair.
            let _ = timeout(SILENCE_MAX, sender.finished()).await;
            return Ok(());
        }
    };
    tell(format!("serves {peer}"));
    let welcome = Answer::Welcome {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        machine: describe_machine(),
    };
    answer(&mut sender, id, Ok(welcome)).await?;
    let clock =
        timeout(SILENCE_MAX, connection.accept_bi()).await.context("it asked no clock")??;
    let session = Session::new(orders, office.timepiece, office.folder.clone(), stop.clone());
    let ended = session.serve(sender, clock).await;
    drop(busy);
    connection.close(0, "the run is over");
    ended?;
    tell(format!("the run of {peer} is over; waits for the next"));
    Ok(())
}

fn admit(office: &Arc<Office>, version: u32, peer: &str) -> Result<Busy, String> {
    if version != VERSION {
        return Err(format!(
            "it speaks version {VERSION} and the coordinator {version}: use the same `loadtest` on \
             all machines"
        ));
    }
    let mut busy_with = office.busy_with();
    if let Some(other) = &*busy_with {
        return Err(format!("it is busy with a run of {other}; try again when that is over"));
    }
    *busy_with = Some(peer.to_owned());
    Ok(Busy(Arc::clone(office)))
}

async fn answer(
    sender: &mut Sender,
    id: u64,
    answer: Result<Answer, String>,
) -> anyhow::Result<()> {
    frame::write(sender, frame::frame(&Report::Answer { id, answer }, &[])?).await
}
