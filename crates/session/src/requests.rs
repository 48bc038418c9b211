//! Requests of a client: history pages and queries, a few at a time.

use std::collections::{BTreeMap, VecDeque};

use wire::{ClientFrame, Seq, client_frame::Read, entity::Query};

use crate::edge::REQUESTS_MAX;

/// Requests that wait for their turn. One more is refused.
pub const WAITING_MAX: usize = 256;

/// Requests by number. A lost connection asks again.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u32,
    waiting: VecDeque<(u32, Request)>,
    asked: BTreeMap<u32, Request>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Page { before: Option<Seq>, limit: u32 },
    Query(Query),
}

impl Requests {
    pub(crate) fn ask(&mut self, request: Request) -> Option<u32> {
        if self.waiting.len() >= WAITING_MAX {
            return None;
        }
        self.last = self.last.wrapping_add(1);
        self.waiting.push_back((self.last, request));
        Some(self.last)
    }

    /// Whether this request waited for its answer.
    pub(crate) fn handle_answer(&mut self, number: u32) -> bool {
        self.asked.remove(&number).is_some()
    }

    pub(crate) fn handle_disconnected(&mut self) {
        for again in std::mem::take(&mut self.asked).into_iter().rev() {
            self.waiting.push_front(again);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<ClientFrame> {
        if self.asked.len() >= REQUESTS_MAX {
            return None;
        }
        let (number, request) = self.waiting.pop_front()?;
        self.asked.insert(number, request);
        Some(match request {
            Request::Page { before, limit } => {
                ClientFrame::Read(Read { request: number, before, limit })
            }
            Request::Query(query) => ClientFrame::Query(number, query),
        })
    }
}
