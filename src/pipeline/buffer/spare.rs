//! Buffers of chunks that have gone out, for chunks to come.
//!
//! They are so large that the allocator tidies up all small blocks of the process when one comes or
//! goes, which would be done by the thread that ends the span. Few are kept, and only as long as
//! they are used.

/// Empty buffers.
#[derive(Debug)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    most: usize,
    /// How many nobody has needed since the last [`tidy`](Self::tidy).
    unused: usize,
}

impl Spare {
    /// Keeps so many at most.
    pub(super) fn new(most: usize) -> Self {
        Self { buffers: Vec::new(), most, unused: 0 }
    }

    /// An empty buffer with room for so many bytes, and for little more: what is not used of it is
    /// not counted anywhere.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (bytes..=bytes + bytes / SLACK).contains(&buffer.capacity());
        let buffer = self.buffers.iter().rposition(fits).map(|at| self.buffers.swap_remove(at));
        self.unused = self.unused.min(self.buffers.len());
        buffer
    }

    /// Takes an empty buffer. Returns it if there are enough.
    pub(super) fn put(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        if self.buffers.len() == self.most {
            return Some(buffer);
        }
        self.buffers.push(buffer);
        None
    }

    /// Gives those away that nobody has needed since it was called last.
    pub(super) fn tidy(&mut self) -> Vec<Vec<u8>> {
        let unused = self.buffers.drain(..self.unused).collect();
        self.unused = self.buffers.len();
        unused
    }
}

/// A new buffer for a chunk that is likely to have so many bytes: with a little on top, but never
/// more than a chunk may have.
pub(super) fn with_room(bytes: usize, chunk_bytes: usize) -> Vec<u8> {
    Vec::with_capacity((bytes + bytes / SLACK / 2).min(chunk_bytes))
}

/// Whether so little of a buffer is unused that it may wait as it is.
pub(super) fn is_tight(buffer: &Vec<u8>) -> bool {
    buffer.capacity() - buffer.len() <= buffer.len() / SLACK
}

/// One of so many parts of a buffer may be unused.
const SLACK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_by_those_whom_it_fits() {
        let rows = [
            (1600, 1600, true, "to the byte"),
            (1600, 1700, true, "nearly"),
            (1600, 1599, false, "it would have to grow"),
            (1600, 1701, false, "too much of it would be unused"),
        ];
        for (bytes, capacity, expected, why) in rows {
            let mut spare = Spare::new(3);
            for other in [10, capacity, 10_000] {
                assert_eq!(spare.put(Vec::with_capacity(other)), None);
            }
            let found = spare.take(bytes).map(|buffer| buffer.capacity());
            assert_eq!(found, expected.then_some(capacity), "{why}");
            assert_eq!(spare.take(bytes), None, "there was one: {why}");
        }
    }

    #[test]
    fn a_new_buffer_has_room_for_a_little_more_and_for_no_more_than_a_chunk() {
        let rows = [(1600, 4000, 1650), (3900, 4000, 4000), (4000, 4000, 4000)];
        for (bytes, chunk_bytes, expected) in rows {
            assert_eq!(with_room(bytes, chunk_bytes).capacity(), expected, "{bytes}");
        }
    }

    #[test]
    fn no_more_are_kept_than_are_used() {
        let mut spare = Spare::new(4);
        let refused = (0..6).filter_map(|_| spare.put(Vec::with_capacity(100))).count();
        assert_eq!((spare.buffers.len(), refused), (4, 2), "there are enough");

        assert_eq!(spare.tidy().len(), 0, "it is not known yet which of them are");
        let taken = [spare.take(100), spare.take(100)];
        taken.into_iter().flatten().for_each(|buffer| drop(spare.put(buffer)));
        assert_eq!(spare.tidy().len(), 2, "two were out at once");
        assert_eq!((spare.tidy().len(), spare.buffers.len()), (2, 0), "nothing has come any more");
    }
}
