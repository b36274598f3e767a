//! Cutting a request of somebody else's in two.
//!
//! A request is a tree of three levels: resources, their scopes, their spans. Between two resources
//! it is simply cut. Where a resource or a scope has spans on both sides of the cut, each side has
//! that message, and in it every field that is no part of the tree, also those that nobody here
//! knows: the resource, the scope, the schema URL.
//!
//! Nothing is decoded, and the bytes of a span are never looked into.

use super::walk::{Fields, Malformed, Value};
use super::wire::put_bytes;

/// A request in two, each of which is well-formed and has spans.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Halves {
    /// With all that is no part of the tree on the level of the request.
    pub(crate) first: Vec<u8>,
    /// How many spans the first one has.
    pub(crate) spans: u64,
    pub(crate) rest: Vec<u8>,
}

/// Cuts after as many spans as stay within these limits, but at least after one. The order of the
/// spans stays, and none is lost or there twice. `request` is one or more fields of an
/// `ExportTraceServiceRequest`.
///
/// A message of which each side would have to repeat much is not cut: somebody who sends a vast
/// resource with many small spans would have it sent once for each of them. "Much" is what is more
/// than a quarter of what the cut is for, and than [`LITTLE`].
///
/// `None` when there is no place for a cut: a single span, or several that cannot be parted. So it is
/// with bytes that are no such request.
pub(crate) fn cut(request: &[u8], bytes: usize, spans: u64) -> Option<Halves> {
    let most_repeated = LITTLE.max(bytes.min(request.len()) / 4);
    let mut front = Front { bytes, spans, most_repeated, kept: 0, is_full: false };
    front.fill(Level::Request, request, Around::default()).ok()?;
    if !front.is_full {
        return None;
    }
    let (first, rest) = part(Level::Request, request, &mut front.kept.clone()).ok()?;
    Some(Halves { first, spans: front.kept, rest })
}

/// A message of the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Request,
    ResourceSpans,
    ScopeSpans,
    Span,
}

impl Level {
    /// The level below, if this field is of it.
    fn of(self, number: u32, value: &Value<'_>) -> Option<Self> {
        match (self, number, value) {
            (Self::Request, 1, Value::Bytes(_)) => Some(Self::ResourceSpans),
            (Self::ResourceSpans, 2, Value::Bytes(_)) => Some(Self::ScopeSpans),
            (Self::ScopeSpans, 2, Value::Bytes(_)) => Some(Self::Span),
            _ => None,
        }
    }
}

/// A field of a message of the tree.
enum Node<'a> {
    /// One that belongs to the tree, and what it holds.
    Branch(Level, &'a [u8]),
    Other,
}

/// The fields of a message, each with all its bytes.
fn nodes(
    level: Level,
    message: &[u8],
) -> impl Iterator<Item = Result<(Node<'_>, &[u8]), Malformed>> {
    let mut fields = Fields::new(message);
    std::iter::from_fn(move || {
        let start = message.len() - fields.remaining();
        let field = fields.next()?;
        Some(field.map(|(number, value)| {
            let raw = &message[start..message.len() - fields.remaining()];
            let node = match (level.of(number, &value), value) {
                (Some(below), Value::Bytes(inner)) => Node::Branch(below, inner),
                _ => Node::Other,
            };
            (node, raw)
        }))
    })
}

/// The spans in a message.
fn count(level: Level, message: &[u8]) -> Result<u64, Malformed> {
    if level == Level::Span {
        return Ok(1);
    }
    nodes(level, message).try_fold(0, |spans, node| match node? {
        (Node::Branch(below, inner), _) => Ok(spans + count(below, inner)?),
        (Node::Other, _) => Ok(spans),
    })
}

/// Finds the place for the cut.
struct Front {
    bytes: usize,
    spans: u64,
    most_repeated: usize,
    /// Spans before the cut, as far as is known.
    kept: u64,
    /// There are spans that go behind it.
    is_full: bool,
}

/// What a first half has around a message if it is cut in that message, in bytes.
#[derive(Clone, Copy, Default)]
struct Around {
    before: usize,
    /// As there are fewer bytes, there are fewer digits of their number, too: this is the most.
    after: usize,
    /// Of them, what the second half has, too.
    repeated: usize,
}

impl Front {
    fn fill(&mut self, level: Level, message: &[u8], around: Around) -> Result<(), Malformed> {
        let mut others = others(level, message)?;
        let repeated = if level == Level::Request { 0 } else { around.repeated + others };
        let mut end = around.before;
        for node in nodes(level, message) {
            let (node, raw) = node?;
            let Node::Branch(below, inner) = node else {
                others -= raw.len();
                end += raw.len();
                continue;
            };
            let spans = count(below, inner)?;
            let after = around.after + others;
            let fits = self.kept + spans <= self.spans && end + raw.len() + after <= self.bytes;
            if fits || spans == 0 {
                self.kept += spans;
            } else if self.may_cut(below, inner, repeated)? {
                let before = end + raw.len() - inner.len();
                self.fill(below, inner, Around { before, after, repeated })?;
            } else if self.kept == 0 {
                self.kept = spans;
            } else {
                self.is_full = true;
            }
            if self.is_full {
                return Ok(());
            }
            end += raw.len();
        }
        Ok(())
    }

    fn may_cut(&self, level: Level, message: &[u8], repeated: usize) -> Result<bool, Malformed> {
        Ok(level != Level::Span && repeated + others(level, message)? <= self.most_repeated)
    }
}

/// Bytes of the fields of a message that are no part of the tree.
fn others(level: Level, message: &[u8]) -> Result<usize, Malformed> {
    nodes(level, message).try_fold(0, |bytes, node| match node? {
        (Node::Branch(..), _) => Ok(bytes),
        (Node::Other, raw) => Ok(bytes + raw.len()),
    })
}

/// Parts a message that has more than `left` spans, which is at least one, after so many.
fn part(level: Level, message: &[u8], left: &mut u64) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for node in nodes(level, message) {
        match node? {
            (Node::Branch(below, inner), raw) => {
                let spans = count(below, inner)?;
                if *left == 0 {
                    rest.extend_from_slice(raw);
                } else if spans <= *left {
                    *left -= spans;
                    first.extend_from_slice(raw);
                } else {
                    let (inner_first, inner_rest) = part(below, inner, left)?;
                    let number = if level == Level::Request { 1 } else { 2 };
                    put_bytes(&mut first, number, &inner_first);
                    put_bytes(&mut rest, number, &inner_rest);
                }
            }
            (Node::Other, raw) => {
                first.extend_from_slice(raw);
                if level != Level::Request {
                    rest.extend_from_slice(raw);
                }
            }
        }
    }
    Ok((first, rest))
}

/// What may always be repeated: an ordinary resource, or several.
const LITTLE: usize = 8 << 10;

#[cfg(test)]
mod tests;
