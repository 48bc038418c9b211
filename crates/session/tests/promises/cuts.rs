//! A connection cut after every single byte, whatever was on its way.

use crate::world::{Ending, World, message};

#[derive(Clone, Copy)]
enum Then {
    Reconnect,
    Restart,
}

/// Sends and receives over one connection that is cut once `bytes` have moved in all directions,
/// a few at a time. Returns whether the cut came before everything was done.
fn cut_after(bytes: usize, step: usize, then: Then) -> bool {
    let mut world = World::new(4, 4);
    world.connect();
    for counter in 1..6 {
        world.enqueue(u8::try_from(counter % 2).unwrap());
        let deliver = world.arrive(0, &message(3, counter));
        world.push(deliver);
    }
    let mut rounds = 0;
    while world.bytes_moved < bytes {
        rounds += 1;
        if rounds > 2000 {
            return false;
        }
        let left = |world: &World| step.min(bytes - world.bytes_moved);
        world.client_turn(4096);
        world.move_to_edge(left(&world));
        world.answer_read();
        world.end_append(0, Ending::Accepted);
        world.move_to_client(left(&world), 0);
        world.move_delivery(left(&world));
        world.acknowledge(rounds);
    }
    match then {
        Then::Reconnect => world.cut(),
        Then::Restart => world.restart(),
    }
    world.settle();
    world.check();
    true
}

#[test]
fn a_cut_after_any_byte_loses_nothing_and_shows_nothing_twice() {
    for then in [Then::Reconnect, Then::Restart] {
        for step in [1, 7, 1000] {
            let cuts = (0..).take_while(|bytes| cut_after(*bytes, step, then)).count();
            assert!(cuts > 500, "everything was on the wire: {cuts}");
        }
    }
}
