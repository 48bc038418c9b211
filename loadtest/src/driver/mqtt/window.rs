//! Packet identifiers, and what waits for its acknowledgement under one.

use std::collections::VecDeque;

/// Identifiers go from 1 to this, and then begin again.
const IDENTIFIERS: u64 = 65_535;
/// As many are kept for what is not a message.
const SPARE: u64 = 8;

/// What waits for acknowledgement, in the order it was sent.
///
/// Identifiers are given in order, so that the place of one is a subtraction. It is full when the
/// oldest that waits has nearly the identifier that would be next, or when the server wants no
/// more.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// The number of the first slot; numbers count all that was ever sent.
    base: u64,
    /// The first is never empty.
    slots: VecDeque<Option<T>>,
    waiting: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { base: 0, slots: VecDeque::new(), waiting: 0 }
    }
}

impl<T> Window<T> {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether there is an identifier for one more message while the server takes `at_most`.
    pub(super) fn has_room(&self, at_most: u16) -> bool {
        self.waiting < usize::from(at_most) && (self.slots.len() as u64) < IDENTIFIERS - SPARE
    }

    /// Gives an identifier to something that is about to be sent. Ask for room before, for a
    /// message.
    pub(super) fn push(&mut self, item: T) -> u16 {
        assert!((self.slots.len() as u64) < IDENTIFIERS, "every identifier is in use");
        let number = self.base + self.slots.len() as u64;
        self.slots.push_back(Some(item));
        self.waiting += 1;
        identifier(number)
    }

    /// Takes what waited under an identifier.
    pub(super) fn take(&mut self, id: u16) -> Option<T> {
        let wanted = u64::from(id).checked_sub(1)?;
        let place = (wanted + IDENTIFIERS - self.base % IDENTIFIERS) % IDENTIFIERS;
        let item = self.slots.get_mut(usize::try_from(place).ok()?)?.take()?;
        self.waiting -= 1;
        self.trim();
        Some(item)
    }

    /// Drops what need not be sent again.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for slot in &mut self.slots {
            if slot.as_ref().is_some_and(|item| !keep(item)) {
                *slot = None;
                self.waiting -= 1;
            }
        }
        self.trim();
    }

    /// Takes everything, in the order it was sent.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.base += self.slots.len() as u64;
        self.waiting = 0;
        self.slots.drain(..).flatten().collect()
    }

    /// What waits, in the order it was sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (self.base..)
            .zip(&self.slots)
            .filter_map(|(number, slot)| slot.as_ref().map(|item| (identifier(number), item)))
    }

    fn trim(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
    }
}

fn identifier(number: u64) -> u16 {
    u16::try_from(number % IDENTIFIERS + 1).expect("at most 65,535")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(window: &Window<u32>) -> Vec<(u16, u32)> {
        window.iter().map(|(id, item)| (id, *item)).collect()
    }

    #[test]
    fn acknowledgements_may_come_in_any_order() {
        let mut window = Window::default();
        for item in 10..14 {
            window.push(item);
        }
        assert_eq!(window.take(3), Some(12));
        assert_eq!(window.take(3), None);
        assert_eq!(window.take(1), Some(10));
        assert_eq!(waiting(&window), [(2, 11), (4, 13)]);
        assert_eq!(window.take(2), Some(11));
        assert_eq!(window.take(4), Some(13));
        assert!(window.is_empty() && window.slots.is_empty());
    }

    #[test]
    fn unknown_identifiers_are_nothing() {
        let mut window = Window::default();
        window.push(1);
        for id in [0, 2, u16::MAX] {
            assert_eq!(window.take(id), None);
        }
    }

    #[test]
    fn identifiers_begin_again_and_never_twice_at_once() {
        let mut window = Window::default();
        let first = window.push(0);
        for item in 1..65_535 {
            let spare = window.has_room(u16::MAX);
            assert_eq!(spare, item < 65_535 - 8, "some identifiers are kept");
            let id = window.push(item);
            if item < 65_534 {
                assert_eq!(window.take(id), Some(item));
            }
        }
        assert_eq!(window.take(first), Some(0));
        assert!(window.has_room(u16::MAX));
        assert_eq!(window.push(70_000), 1);
        assert_eq!(waiting(&window), [(65_535, 65_534), (1, 70_000)]);
        assert_eq!(window.take(1), Some(70_000));
    }

    #[test]
    fn what_is_kept_keeps_identifier_and_order() {
        let mut window = Window::default();
        for item in 0..5 {
            window.push(item);
        }
        window.retain(|item| item % 2 == 1);
        assert_eq!(waiting(&window), [(2, 1), (4, 3)]);
        assert_eq!(window.waiting, 2);
        assert_eq!(window.push(9), 6);
        assert_eq!(window.drain(), [1, 3, 9]);
        assert_eq!(window.push(1), 7);
    }

    #[test]
    fn the_server_says_how_many_may_wait() {
        let mut window = Window::default();
        window.push(1);
        assert!(window.has_room(2));
        window.push(2);
        assert!(!window.has_room(2));
    }
}
