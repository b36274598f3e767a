//! Requests, compressed where it is worth it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::task::spawn_blocking;

use super::options::Compression;
use crate::pipeline::warn;

/// Compresses for one collector, as long as that one can read it.
#[derive(Debug)]
pub(super) struct Compressor {
    is_on: AtomicBool,
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Self {
        Self { is_on: AtomicBool::new(compression == Compression::Gzip) }
    }

    /// The pieces as one of gzip; `None` when they should go as they are.
    pub(super) async fn gzip(&self, pieces: &VecDeque<Bytes>) -> Option<Bytes> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len < LEAST || !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let pieces = pieces.clone();
        // Megabytes take milliseconds, in which other exports should go on.
        let compressed = if len <= INLINE {
            compress(&pieces, len)
        } else {
            spawn_blocking(move || compress(&pieces, len)).await.ok()?
        };
        compressed.ok().map(Bytes::from)
    }

    /// The collector has refused a compressed request that it took when it was sent as it is.
    pub(super) fn is_not_understood(&self, target: &str) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            warn(format_args!(
                "{target}: the collector does not understand gzip: from now on requests are not \
                 compressed",
            ));
        }
    }
}

fn compress(pieces: &VecDeque<Bytes>, len: usize) -> io::Result<Vec<u8>> {
    // Spans become a tenth; room for a third avoids most growing.
    let mut encoder = GzEncoder::new(Vec::with_capacity(len / 3), flate2::Compression::fast());
    for piece in pieces {
        encoder.write_all(piece)?;
    }
    encoder.finish()
}

/// What is smaller does not get much smaller.
const LEAST: usize = 1 << 10;
/// Above it, compression goes to another thread.
const INLINE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[tokio::test]
    async fn requests_are_compressed_from_one_kibibyte_on() {
        let rows = [
            (Compression::Gzip, vec![LEAST - 1], false, "too small"),
            (Compression::Gzip, vec![LEAST], true, "just large enough"),
            (Compression::Gzip, vec![LEAST / 2, LEAST / 2], true, "of two pieces"),
            (Compression::Gzip, vec![], false, "nothing"),
            (Compression::Gzip, vec![INLINE, 1], true, "on another thread"),
            (Compression::None, vec![INLINE], false, "nobody wants it"),
        ];
        for (compression, lens, expected, why) in rows {
            let pieces: VecDeque<_> =
                lens.iter().enumerate().map(|(i, len)| vec![i as u8; *len].into()).collect();
            let compressed = Compressor::new(compression).gzip(&pieces).await;
            assert_eq!(compressed.is_some(), expected, "{why}");
            if let Some(compressed) = compressed {
                let mut found = Vec::new();
                GzDecoder::new(&compressed[..]).read_to_end(&mut found).unwrap();
                let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
                assert!(found == expected, "{why}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_compressed_for_whom_it_says_nothing() {
        let compressor = Compressor::new(Compression::Gzip);
        let pieces = VecDeque::from([Bytes::from(vec![0; LEAST])]);
        assert!(compressor.gzip(&pieces).await.is_some());
        compressor.is_not_understood("a collector");
        assert!(compressor.gzip(&pieces).await.is_none());
    }
}
