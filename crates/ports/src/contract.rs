//! What every engine must do, as tests an engine runs.
//!
//! An engine implements [`Harness`] and calls [`crate::contract_suite`], once with 1 and once with
//! 4 partitions; every case becomes a test, named by its claim. A harness that cannot do what a
//! case needs says so, and the case passes without having looked.

#![allow(clippy::unwrap_used, reason = "a contract is made of assertions")]

pub mod entities;
pub mod log;
pub mod mailbox;
pub mod presence;

use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use wire::{DeviceId, Partition, Seq, UserId};

use crate::{Entities, Log, Mailbox, Presence};

/// Fresh engines for one case.
pub trait Harness: Send + Sized {
    /// Engines with nothing in them and this many partitions of the mail log and of the group log.
    fn open(partitions: u16) -> impl Future<Output = Self> + Send;

    /// The log. Clones are gone when [`Harness::reopen`] is called; likewise below.
    fn log(&self) -> Arc<dyn Log> {
        unimplemented!("this harness has no log")
    }

    /// The mailboxes.
    fn mailbox(&self) -> Arc<dyn Mailbox> {
        unimplemented!("this harness has no mailboxes")
    }

    /// The entities.
    fn entities(&self) -> Arc<dyn Entities> {
        unimplemented!("this harness has no entities")
    }

    /// The presence.
    fn presence(&self) -> Arc<dyn Presence> {
        unimplemented!("this harness has no presence")
    }

    /// Ends cleanly and opens what was durable.
    fn reopen(self) -> impl Future<Output = Self> + Send;

    /// The clock rows expire by, milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Moves that clock on and drops what is too old; false when it cannot.
    fn advance(&self, by: Duration) -> bool;

    /// Lets time pass for leases.
    fn pass(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// The next append takes effect and fails; false when it cannot be made to.
    fn fail_next_append(&self) -> bool;

    /// Appends are refused or not; false when they cannot be.
    fn refuse_appends(&self, refuse: Refuse) -> bool;

    /// The next store takes effect and fails; false when it cannot be made to.
    fn fail_next_store(&self) -> bool;
}

/// Whether appends are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// All of them.
    Everything,
    /// None without a reason.
    Nothing,
}

/// The cases as tests: `contract_suite!(one, MyHarness, 1);` makes a module `one` of all of them,
/// `contract_suite!(one, MyHarness, 1, log);` of those of the log, likewise `mailbox`, `entities`
/// and `presence`.
///
/// The harness is named by a word in scope there. The caller needs `tokio` with its macros and a
/// runtime.
#[macro_export]
macro_rules! contract_suite {
    ($name:ident, $harness:ident, $partitions:expr) => {
        $crate::contract_suite!($name, $harness, $partitions, log mailbox entities presence);
    };
    ($name:ident, $harness:ident, $partitions:expr, $($port:ident)+) => {
        mod $name {
            $($crate::contract_suite!(@$port $harness, $partitions);)+
        }
    };
    (@log $harness:ident, $partitions:expr) => {
        $crate::contract_suite!(@cases $harness, $partitions, log:
            records_of_a_partition_come_in_the_order_of_their_appends
            positions_are_answered_in_the_order_given
            an_append_is_taken_whole_or_refused_whole
            an_append_that_is_refused_leaves_nothing
            a_dropped_future_still_appends
            log_times_never_decrease
            a_reader_waits_until_there_is_something
            a_dropped_read_has_read_nothing
            a_batch_keeps_its_limits
            a_reader_starts_after_what_was_committed
            a_commit_never_moves_back
            opening_takes_the_partition_from_its_reader
            open_at_reads_again_what_was_committed
            nothing_is_lost_and_positions_grow_across_reopening
            control_is_read_whole_by_every_reader
            what_follows_a_failed_append_fails_until_the_caller_was_told
            an_append_that_failed_may_be_repeated
            dead_letters_are_taken
            flush_waits_for_what_was_taken
        );
    };
    (@mailbox $harness:ident, $partitions:expr) => {
        $crate::contract_suite!(@cases $harness, $partitions, mailbox:
            rows_are_read_in_the_order_of_their_positions
            a_mailbox_without_rows_has_head_zero
            nothing_appears_below_a_head_that_was_seen
            a_batch_again_changes_nothing
            a_late_batch_of_a_stale_writer_changes_nothing
            a_failed_store_may_be_repeated
            pages_forward_keep_their_limits_and_miss_nothing
            pages_back_keep_their_limits_and_miss_nothing
            expired_rows_are_not_shown_and_the_head_stays
            everything_is_gone_after_the_longest_time_to_live
            erased_rows_stay_away_and_later_ones_come
            the_cursor_with_the_higher_position_stays
            marks_are_kept_for_each_partition_and_never_move_back
            rows_and_cursors_are_there_after_reopening
        );
    };
    (@entities $harness:ident, $partitions:expr) => {
        $crate::contract_suite!(@cases $harness, $partitions, entities:
            an_entity_without_decisions_has_nothing
            a_decision_is_kept_with_all_that_belongs_to_it
            a_decision_again_changes_nothing
            an_older_decision_that_comes_late_does_not_win
            the_first_decision_about_a_message_is_found
            memberships_are_kept_over_leaving_and_joining_again
            a_failed_decision_may_be_repeated
            users_and_groups_with_the_same_id_are_different
            decisions_are_there_after_reopening
        );
    };
    (@presence $harness:ident, $partitions:expr) => {
        $crate::contract_suite!(@cases $harness, $partitions, presence:
            a_route_is_live_while_its_lease_is
            a_renewed_lease_lasts
            a_renewal_says_whether_the_lease_had_ended
            a_released_lease_ends_at_once
            an_older_generation_changes_nothing
            an_older_generation_does_not_detach_a_newer
            every_device_has_a_route_of_its_own
        );
    };
    (@cases $harness:ident, $partitions:expr, $module:ident: $($case:ident)+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::contract::$module::$case::<super::super::$harness>($partitions).await;
                }
            )+
        }
    };
}

/// Users of these cases.
pub(crate) fn user(number: u8) -> UserId {
    UserId::from_bytes([number; UserId::LEN])
}

/// Devices of these cases.
pub(crate) fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; DeviceId::LEN])
}

/// Positions of these cases.
pub(crate) fn seq(value: u64) -> Seq {
    Seq::from_u64(value)
}

/// All partitions of a topic with so many.
pub(crate) fn all_partitions(count: u16) -> impl Iterator<Item = Partition> {
    (0..count).map(Partition::new)
}

/// Whether a future does not resolve at once.
pub(crate) async fn is_pending<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// What a future resolves to, within a time no machine needs.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it resolves")
}
