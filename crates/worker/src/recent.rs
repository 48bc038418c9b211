//! A bounded map that forgets what was not used for longest, roughly.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

/// Remembers at least the last half of `capacity` keys used, and never more than `capacity`.
///
/// Two generations: when the younger one is half the capacity it becomes the older one, and the
/// older one is forgotten. What is used moves to the younger one. Costs one or two hash lookups and
/// no list of links.
pub(crate) struct Recent<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { half: (capacity / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of `key`, which counts as used.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// Sets the value of `key` and returns the one before, if remembered.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            // The key may be in the generation that is now forgotten: take its value out first.
            let before = self.old.remove(&key);
            self.old = std::mem::take(&mut self.young);
            self.young.insert(key, value);
            return before;
        }
        match self.young.entry(key) {
            Entry::Occupied(mut entry) => Some(entry.insert(value)),
            Entry::Vacant(entry) => {
                let before = self.old.remove(entry.key());
                entry.insert(value);
                before
            }
        }
    }

    /// Forgets the key and returns its value, if remembered.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        // A key is in one generation only.
        self.young.remove(key).or_else(|| self.old.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_half_and_never_more_than_the_whole() {
        let mut recent = Recent::new(8);
        for key in 0..1000_u32 {
            assert_eq!(recent.insert(key, key), None);
            assert!(recent.young.len() + recent.old.len() <= 8);
            for kept in key.saturating_sub(3)..=key {
                let everywhere = recent.young.get(&kept).or_else(|| recent.old.get(&kept));
                assert_eq!(everywhere, Some(&kept));
            }
        }
    }

    #[test]
    fn an_insert_returns_the_value_before_from_either_generation() {
        let mut recent = Recent::new(4);
        recent.insert(1, "a");
        recent.insert(2, "b");
        recent.insert(3, "c");
        assert_eq!(recent.insert(1, "d"), Some("a"));
        assert_eq!(recent.insert(2, "e"), Some("b"));
        assert_eq!(recent.insert(1, "f"), Some("d"));
    }

    #[test]
    fn what_is_used_stays() {
        let mut recent = Recent::new(4);
        recent.insert(0, 0);
        for key in 1..100 {
            recent.insert(key, key);
            assert_eq!(recent.get(&0), Some(&0));
        }
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut recent = Recent::new(4);
        for key in 0..4 {
            recent.insert(key, key);
        }
        assert_eq!((recent.remove(&0), recent.remove(&3)), (Some(0), Some(3)));
        assert_eq!([0, 3].map(|key| recent.get(&key).copied()), [None, None]);
    }
}
