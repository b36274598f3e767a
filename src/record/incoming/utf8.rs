//! Whether bytes are UTF-8, for the short texts that requests are full of.

/// As `std::str::from_utf8` has it.
#[inline]
pub(super) fn is_utf8(text: &[u8]) -> bool {
    // Most are short and ASCII, for which this is faster by far.
    is_ascii(text)
        || match text.len() {
            0..=SHORT => is_short_utf8(text),
            // Here what is ASCII between other text is skipped in blocks.
            _ => std::str::from_utf8(text).is_ok(),
        }
}

/// Looks at eight bytes at a time, the last of which may have been seen before.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let chunks = text.as_chunks().0.iter().chain([last]);
    chunks.fold(0, |all, chunk| all | u64::from_le_bytes(*chunk)) & 0x8080_8080_8080_8080 == 0
}

/// Goes from state to state with each byte, and nothing branches on what it is: where characters of
/// one byte and of several take turns, as in most languages, no branch could be foreseen.
fn is_short_utf8(text: &[u8]) -> bool {
    let end = text.iter().fold(BETWEEN, |state, &byte| STEPS[usize::from(byte)] >> (state % 64));
    end % 64 == BETWEEN
}

/// For each byte where it leads: at the bit that a state is named by stands the next state.
static STEPS: [u64; 256] = steps();

const fn steps() -> [u64; 256] {
    let mut steps = [0; 256];
    let mut byte = 0;
    while byte < steps.len() {
        let begins = match byte {
            0..=0x7f => BETWEEN,
            0xc2..=0xdf => ONE_MORE,
            0xe0 => AFTER_E0,
            0xed => AFTER_ED,
            0xe1..=0xef => TWO_MORE,
            0xf0 => AFTER_F0,
            0xf1..=0xf3 => THREE_MORE,
            0xf4 => AFTER_F4,
            _ => WRONG,
        };
        let continues = match byte {
            0x80..=0xbf => BETWEEN << ONE_MORE | ONE_MORE << TWO_MORE | TWO_MORE << THREE_MORE,
            _ => WRONG,
        };
        // Else it could have been said in less, is a surrogate, or is beyond the last character.
        let second = match byte {
            0x80..=0x8f => ONE_MORE << AFTER_ED | TWO_MORE << AFTER_F4,
            0x90..=0x9f => ONE_MORE << AFTER_ED | TWO_MORE << AFTER_F0,
            0xa0..=0xbf => ONE_MORE << AFTER_E0 | TWO_MORE << AFTER_F0,
            _ => WRONG,
        };
        steps[byte] = begins << BETWEEN | continues | second;
        byte += 1;
    }
    steps
}

/// The states, six bits each. From this one there is no way out.
const WRONG: u64 = 0;
/// Between two characters.
const BETWEEN: u64 = 6;
const ONE_MORE: u64 = 12;
const TWO_MORE: u64 = 18;
const THREE_MORE: u64 = 24;
/// Bytes after which only some of those may come that continue a character.
const AFTER_E0: u64 = 30;
const AFTER_ED: u64 = 36;
const AFTER_F0: u64 = 42;
const AFTER_F4: u64 = 48;
/// Bytes of a text up to which it is faster to look at each.
const SHORT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each length of a character: the first and the last, what is next to them and not allowed,
    /// and everything in between that decides.
    const EDGES: [u8; 24] = [
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
        0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    ];

    fn assert_as_std(text: &[u8]) {
        assert_eq!(is_utf8(text), std::str::from_utf8(text).is_ok(), "{text:02x?}");
    }

    #[test]
    fn every_sequence_is_judged_as_std_does() {
        for first in 0..=u8::MAX {
            assert_as_std(&[first]);
            (0..=u8::MAX).for_each(|second| assert_as_std(&[first, second]));
            for second in EDGES {
                for third in EDGES {
                    assert_as_std(&[first, second, third]);
                    for fourth in EDGES {
                        assert_as_std(&[first, second, third, fourth]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_character_is_found_wherever_it_stands_in_a_text_of_any_length() {
        for len in 0..2 * SHORT {
            for at in 0..len {
                for character in ["é", "日", "🦀", "\u{d7ff}", "\u{10ffff}"] {
                    let mut text = vec![b'a'; len];
                    text.splice(at..at, character.bytes());
                    assert_as_std(&text);
                    text.remove(at + 1);
                    assert_as_std(&text);
                    text.truncate(at + 1);
                    assert_as_std(&text);
                }
            }
        }
    }
}
