//! Arbitrary orders of events: nothing is lost, shown twice or out of order.

use std::time::Duration;

use proptest::prelude::*;

use crate::world::{Ending, Fate, World, message};

#[derive(Clone, Debug)]
enum Op {
    Enqueue(u8),
    ClientTurn(u16),
    ToEdge(u16),
    ToClient(u16, u32),
    Delivery(u16),
    Fates(Vec<Fate>),
    End(u8, Ending),
    Arrive { gap: u8, repeat: u8, sender: u8, push: Push },
    PushKept(u8),
    Read,
    FailRead,
    Behind,
    Head,
    Acknowledge(u8),
    Advance(u16),
    Connect,
    Cut,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Push {
    Now,
    Twice,
    Never,
    WithoutPrev,
    Kept,
}

fn op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        4 => Just(Fate::Append),
        2 => Just(Fate::Busy),
        1 => Just(Fate::Reject)
    ];
    let ending = prop_oneof![
        4 => Just(Ending::Accepted),
        1 => Just(Ending::LandedButUnknown),
        1 => Just(Ending::Lost)
    ];
    let push = prop_oneof![
        4 => Just(Push::Now),
        1 => Just(Push::Twice),
        2 => Just(Push::Never),
        1 => Just(Push::WithoutPrev),
        1 => Just(Push::Kept)
    ];
    let arrive = (0..3_u8, any::<u8>(), 1..4_u8, push);
    let arrive =
        arrive.prop_map(|(gap, repeat, sender, push)| Op::Arrive { gap, repeat, sender, push });
    prop_oneof![
        8 => (0..3_u8).prop_map(Op::Enqueue),
        12 => (1..2000_u16).prop_map(Op::ClientTurn),
        12 => (1..600_u16).prop_map(Op::ToEdge),
        12 => (1..300_u16, any::<u32>()).prop_map(|(bytes, random)| Op::ToClient(bytes, random)),
        12 => (1..600_u16).prop_map(Op::Delivery),
        4 => prop::collection::vec(fate, 0..6).prop_map(Op::Fates),
        8 => (any::<u8>(), ending).prop_map(|(edge, ending)| Op::End(edge, ending)),
        8 => arrive,
        3 => any::<u8>().prop_map(Op::PushKept),
        6 => Just(Op::Read),
        1 => Just(Op::FailRead),
        1 => Just(Op::Behind),
        2 => Just(Op::Head),
        8 => any::<u8>().prop_map(Op::Acknowledge),
        6 => (1..400_u16).prop_map(Op::Advance),
        2 => Just(Op::Connect),
        1 => Just(Op::Cut),
        1 => Just(Op::Restart),
    ]
}

struct Run {
    world: World,
    counters: [u64; 5],
    kept: Vec<wire::delivery_frame::Deliver>,
}

impl Run {
    fn step(&mut self, op: Op) {
        let world = &mut self.world;
        match op {
            Op::Enqueue(conversation) => world.enqueue(conversation),
            Op::ClientTurn(room) => world.client_turn(room.into()),
            Op::ToEdge(bytes) => world.move_to_edge(bytes.into()),
            Op::ToClient(bytes, random) => world.move_to_client(bytes.into(), random),
            Op::Delivery(bytes) => world.move_delivery(bytes.into()),
            Op::Fates(fates) => world.fates.extend(fates),
            Op::End(edge, ending) => world.end_append(edge.into(), ending),
            Op::Arrive { gap, repeat, sender, push } => self.arrive(gap, repeat, sender, push),
            Op::PushKept(which) => {
                if !self.kept.is_empty() {
                    let deliver = self.kept.remove(usize::from(which) % self.kept.len());
                    world.push(deliver);
                }
            }
            Op::Read => world.answer_read(),
            Op::FailRead => world.fail_read(),
            Op::Behind => {
                if let Some(edge) = &mut world.edge {
                    edge.handle_behind(world.now);
                }
                world.edge_turn();
            }
            Op::Head => {
                let head = world.mailbox.last_key_value().map(|(seq, _)| *seq);
                if let (Some(head), Some(edge)) = (head, &mut world.edge) {
                    edge.handle_head(world.now, head);
                }
                world.edge_turn();
            }
            Op::Acknowledge(which) => world.acknowledge(which.into()),
            Op::Advance(millis) => world.advance(Duration::from_millis(millis.into())),
            Op::Connect => {
                if world.edge.is_none() {
                    world.connect();
                }
            }
            Op::Cut => world.cut(),
            Op::Restart => world.restart(),
        }
    }

    fn arrive(&mut self, gap: u8, repeat: u8, sender: u8, push: Push) {
        let last = &mut self.counters[usize::from(sender)];
        // Sender 1 is this very device: its echo comes back and is not shown.
        let counter = if repeat.is_multiple_of(4) && *last > 0 {
            1 + u64::from(repeat) % *last
        } else {
            *last += 1;
            *last
        };
        let mut item = message(sender, counter);
        if sender == 1 {
            item.to = wire::Address::User(wire::UserId::from_bytes([7; 16]));
        }
        let deliver = self.world.arrive(gap.into(), &item);
        match push {
            Push::Now => self.world.push(deliver),
            Push::Twice => {
                self.world.push(deliver.clone());
                self.world.push(deliver);
            }
            Push::Never => {}
            Push::WithoutPrev => {
                self.world.push(wire::delivery_frame::Deliver { prev: None, ..deliver })
            }
            Push::Kept => self.kept.push(deliver),
        }
    }
}

fn run(windows: (u32, u32), ops: Vec<Op>) {
    let world = World::new(windows.0, windows.1);
    let mut run = Run { world, counters: [0; 5], kept: Vec::new() };
    run.world.connect();
    for op in ops {
        run.step(op);
    }
    run.world.settle();
    run.world.check();
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    })]

    #[test]
    fn any_order_of_events_keeps_every_promise(
        windows in (1..6_u32, 1..8_u32),
        ops in prop::collection::vec(op(), 0..400),
    ) {
        run(windows, ops);
    }
}
