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
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let room = bytes + bytes / SLACK / 2;
        let fits = |buffer: &Vec<u8>| (bytes..=bytes + bytes / SLACK).contains(&buffer.capacity());
        let spare = self.buffers.pop().filter(fits);
        self.unused = self.unused.min(self.buffers.len());
        spare.unwrap_or_else(|| Vec::with_capacity(room))
    }

    /// Takes a buffer, unless there are enough.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < self.most {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Lets go of those that nobody has needed since it was called last.
    pub(super) fn tidy(&mut self) {
        self.buffers.drain(..self.unused);
        self.unused = self.buffers.len();
    }
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
            (1600, 1600, 1600, "to the byte"),
            (1600, 1700, 1700, "nearly"),
            (1600, 1599, 1650, "another: it would have to grow"),
            (1600, 1701, 1650, "another: too much of it would be unused"),
        ];
        for (bytes, capacity, expected, why) in rows {
            let mut spare = Spare::new(1);
            spare.put(vec![7; capacity]);
            let found = spare.take(bytes);
            assert_eq!((found.len(), found.capacity()), (0, expected), "{why}");
            assert_eq!(spare.take(bytes).capacity(), 1650, "there was one: {why}");
        }
    }

    #[test]
    fn no_more_are_kept_than_are_used() {
        let mut spare = Spare::new(4);
        let capacities = |spare: &Spare| spare.buffers.len();
        (0..6).for_each(|_| spare.put(Vec::with_capacity(100)));
        assert_eq!(capacities(&spare), 4, "there are enough");

        spare.tidy();
        assert_eq!(capacities(&spare), 4, "it is not known yet which of them are");
        let taken = [spare.take(100), spare.take(100)];
        taken.into_iter().for_each(|buffer| spare.put(buffer));
        spare.tidy();
        assert_eq!(capacities(&spare), 2, "as many as were out at once");
        spare.tidy();
        assert_eq!(capacities(&spare), 0, "nothing has come any more");
    }
}
