//! Who sends spans.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::request::Parts;

use super::refusal::Refusal;
use crate::record::cut;

/// What is known of the sender of a request: the answer of the closure that
/// [`TracingService::forwarder`](crate::TracingService::forwarder) is given.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Identity {
    /// The spans are taken, and say that this is who sent them: 1 to 256 bytes. It is what limits
    /// are kept by, so all requests of one sender should have the same, and no other sender's.
    ///
    /// An empty or a longer one is refused as if denied, and not cut: two that differ only in
    /// their ends would become one.
    Allow(Cow<'static, str>),
    /// The spans are not taken, and the sender is told so, with this reason: up to 1024 bytes.
    Deny(Cow<'static, str>),
}

impl Identity {
    /// [`Allow`](Self::Allow), of any text.
    pub fn allow(identity: impl Into<Cow<'static, str>>) -> Self {
        Self::Allow(identity.into())
    }

    /// [`Deny`](Self::Deny), of any text.
    pub fn deny(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Deny(reason.into())
    }
}

/// The user's closure.
pub(super) type Identify = Arc<dyn Fn(&Parts) -> Identity + Send + Sync>;

/// Asks who sends a request.
pub(super) fn identify(ask: &Identify, request: &Parts) -> Result<Cow<'static, str>, Refusal> {
    // The user's code: a panic would end the connection, and with it requests of others.
    let identity = catch_unwind(AssertUnwindSafe(|| ask(request)));
    match identity.map_err(|_| Refusal::NotIdentified)? {
        Identity::Allow(identity) => match identity.len() {
            1..=MAX_IDENTITY => Ok(identity),
            0 => Err(Refusal::Denied("the sender's identity is empty".into())),
            _ => Err(Refusal::Denied("the sender's identity is longer than 256 bytes".into())),
        },
        Identity::Deny(reason) => Err(Refusal::Denied(match reason {
            reason if reason.len() <= MAX_REASON => reason,
            reason => cut(&reason, MAX_REASON).to_owned().into(),
        })),
    }
}

/// Of those whom nobody asked.
pub(super) const ANONYMOUS: &str = "anonymous";
const MAX_IDENTITY: usize = 256;
const MAX_REASON: usize = 1024;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn an_identity_is_taken_whole_or_not_at_all() {
        let denied = |words: &'static str| Err(Refusal::Denied(words.into()));
        let rows = [
            (Identity::allow("alice"), Ok("alice".into()), "a name"),
            (Identity::allow("é".repeat(128)), Ok("é".repeat(128).into()), "256 bytes"),
            (
                Identity::allow("x".repeat(257)),
                denied("the sender's identity is longer than 256 bytes"),
                "one more, and not cut",
            ),
            (Identity::allow(""), denied("the sender's identity is empty"), "nobody"),
            (Identity::deny("no certificate"), denied("no certificate"), "in the user's words"),
            (
                Identity::deny("é".repeat(513)),
                Err(Refusal::Denied("é".repeat(512).into())),
                "words are cut",
            ),
        ];
        let (parts, ()) = Request::new(()).into_parts();
        for (identity, expected, why) in rows {
            let ask: Identify = Arc::new(move |_| identity.clone());
            assert_eq!(identify(&ask, &parts), expected, "{why}");
        }
    }

    #[test]
    fn a_closure_that_panics_allows_nothing() {
        let (parts, ()) = Request::new(()).into_parts();
        let ask: Identify = Arc::new(|_| std::panic::resume_unwind(Box::new("asked for")));
        assert_eq!(identify(&ask, &parts), Err(Refusal::NotIdentified));
    }
}
