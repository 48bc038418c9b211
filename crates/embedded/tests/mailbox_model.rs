//! Pages of a mailbox compared with a model: rows over many windows, expiry, erasure, limits.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use embedded::{Engine, EngineConfig};
use ports::mailbox::{Batch, Range, Row};
use proptest::prelude::*;
use wire::{Seq, UserId};

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;

static NOW_MS: AtomicU64 = AtomicU64::new(START_MS);

fn now_ms() -> u64 {
    NOW_MS.load(SeqCst)
}

/// What happens to a mailbox.
#[derive(Clone, Debug)]
enum Step {
    /// Rows come: how long after the ones before, how long they live, how long they are.
    Append(Vec<(u64, u64, usize)>),
    /// All rows so far come again.
    Replay,
    /// Everything up to this share of the positions is erased.
    Erase(u64),
    /// Time passes, hours.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..5_u64, 1..100_u64, 1..50_usize);
    let step = prop_oneof![
        4 => prop::collection::vec(row, 1..12).prop_map(Step::Append),
        1 => Just(Step::Replay),
        1 => (0..30_u64).prop_map(Step::Erase),
        2 => (0..40_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..12)
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, Row>,
    head: u64,
    erased: u64,
}

impl Model {
    fn visible(&self) -> Vec<Row> {
        let visible = |row: &&Row| row.expires_ms >= now_ms() && row.seq.get() > self.erased;
        self.rows.values().filter(visible).cloned().collect()
    }

    fn page(&self, range: Range, newest_first: bool) -> (Vec<Row>, bool) {
        let mut rows = self.visible();
        rows.retain(|row| range.after < row.seq && row.seq <= range.up_to);
        if newest_first {
            rows.reverse();
        }
        let mut bytes = 0;
        let fits = |row: &Row| {
            bytes += row.item.len();
            bytes <= range.bytes_max
        };
        let fitting = rows.iter().map(fits).take_while(|fits| *fits).count();
        let taken = fitting.max(1).min(range.rows_max).min(rows.len());
        let more = taken < rows.len();
        rows.truncate(taken);
        (rows, more)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn pages_are_those_of_the_model(
        steps in steps(),
        pages in prop::collection::vec((0..60_u64, 0..60_u64, 1..20_usize, 1..300_usize), 10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, pages));
    }
}

async fn check(steps: Vec<Step>, pages: Vec<(u64, u64, usize, usize)>) {
    NOW_MS.store(START_MS, SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let config = EngineConfig {
        maintain_every: None,
        retention: Duration::from_secs(100 * 3600),
        window: Duration::from_secs(5 * 3600),
        ..EngineConfig::new(directory.path())
    };
    let engine = Engine::open(config, now_ms).unwrap();
    let mailbox = engine.engines().mailbox;
    let user = UserId::from_bytes([1; 16]);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(rows) => {
                let mut added = Vec::new();
                for (gap, hours, bytes) in rows {
                    model.head += 1 + gap;
                    let row = Row {
                        user,
                        seq: Seq::from_u64(model.head),
                        log_time_ms: now_ms(),
                        expires_ms: now_ms() + hours * HOUR_MS,
                        item: Bytes::from(vec![b'x'; bytes]),
                    };
                    model.rows.insert(model.head, row.clone());
                    added.push(row);
                }
                mailbox.append(Batch { rows: added, marks: Vec::new() }).await.unwrap();
            }
            Step::Replay => {
                let rows = model.rows.values().cloned().collect();
                mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
            }
            Step::Erase(up_to) => {
                model.erased = model.erased.max(up_to);
                mailbox.erase(user, Seq::from_u64(up_to)).await.unwrap();
            }
            Step::Pass(hours) => {
                NOW_MS.fetch_add(hours * HOUR_MS, SeqCst);
                engine.maintain(now_ms()).unwrap();
            }
        }
        assert_eq!(mailbox.heads(vec![user]).await.unwrap(), [Seq::from_u64(model.head)]);
    }
    for (after, up_to, rows_max, bytes_max) in pages {
        let (after, up_to) = (Seq::from_u64(after), Seq::from_u64(up_to));
        let range = Range { user, after, up_to, rows_max, bytes_max };
        let page = mailbox.read(range).await.unwrap();
        assert_eq!((page.rows, page.more), model.page(range, false));
        let page = mailbox.read_back(range).await.unwrap();
        assert_eq!((page.rows, page.more), model.page(range, true));
    }
}
