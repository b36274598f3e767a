//! A table that grows to a bound and is read without locks.
//!
//! Nothing is ever taken out, so an index that was found stays good.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Table<T>(Box<[OnceLock<T>]>);

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    New(usize),
    /// Another thread had put in the same.
    There(usize),
    /// Nowhere.
    Full,
}

impl<T> Table<T> {
    pub(super) fn new(size: usize) -> Self {
        Self((0..size).map(|_| OnceLock::new()).collect())
    }

    /// An entry that was found or inserted.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index)?.get()
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        for index in self.probe(hash) {
            // Entries are put into the first free place, so there is none behind it.
            if is_it(self.get(index)?) {
                return Some(index);
            }
        }
        None
    }

    /// Puts an entry in, unless it is there.
    pub(super) fn insert(
        &self,
        hash: u64,
        mut entry: T,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Inserted {
        for index in self.probe(hash) {
            match self.0[index].set(entry) {
                Ok(()) => return Inserted::New(index),
                Err(refused) => entry = refused,
            }
            if self.get(index).is_some_and(|there| is_same(there, &entry)) {
                return Inserted::There(index);
            }
        }
        Inserted::Full
    }

    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<T> {
        let size = self.0.len();
        let first = (hash % size.max(1) as u64) as usize;
        (first..size).chain(0..first)
    }
}

impl<T> fmt::Debug for Table<T> {
    /// Without the entries, of which there may be thousands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().filter(|place| place.get().is_some()).count();
        f.debug_struct("Table").field("entries", &entries).finish_non_exhaustive()
    }
}

/// How many more there may be.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) const fn new(left: usize) -> Self {
        Self(AtomicUsize::new(left))
    }

    /// Takes one, if one is left.
    pub(super) fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }

    pub(super) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_where_it_was_put_whatever_stands_in_its_way() {
        let table = Table::new(4);
        let insert = |hash, entry: &'static str| table.insert(hash, entry, |a, b| a == b);
        let find = |hash, entry| table.find(hash, |there| *there == entry);

        assert_eq!(find(3, "a"), None, "empty");
        assert_eq!(insert(3, "a"), Inserted::New(3));
        assert_eq!(insert(3, "a"), Inserted::There(3));
        assert_eq!(insert(7, "b"), Inserted::New(0), "the place is taken: the next");
        assert_eq!(find(7, "b"), Some(0));
        assert_eq!(find(0, "c"), None, "the place is another's");
        assert_eq!(insert(0, "c"), Inserted::New(1));
        assert_eq!(insert(1, "d"), Inserted::New(2));
        assert_eq!(insert(1, "e"), Inserted::Full);
        assert_eq!(find(1, "e"), None);
        assert_eq!(find(1, "a"), Some(3), "found by the whole way round");
    }

    #[test]
    fn threads_that_insert_the_same_agree_where_it_is() {
        for _ in 0..50 {
            let table = Table::new(8);
            let places: Vec<_> = std::thread::scope(|scope| {
                let insert = || match table.insert(5, "a", |a, b| a == b) {
                    Inserted::New(index) | Inserted::There(index) => index,
                    Inserted::Full => panic!("there is room"),
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(insert)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(places, [5; 4]);
        }
    }

    #[test]
    fn a_budget_is_spent_and_given_back() {
        let budget = Budget::new(1);
        assert!(budget.take());
        assert!(!budget.take());
        budget.give_back();
        assert!(budget.take());
    }
}
