//! Why a request is not taken, and what its sender is told.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::tally::Reason;

/// Why a request is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    Disabled,
    /// gRPC asks for something else than `TraceService/Export`.
    Method,
    /// HTTP does not POST.
    NotPost,
    MediaType,
    /// Of the body, or of the message.
    Encoding,
    Denied(Cow<'static, str>),
    /// Whoever should say who the sender is panicked.
    NotIdentified,
    Loop,
    TooManyHops,
    Invalid(Cow<'static, str>),
    /// By itself, whatever else is under way.
    TooLarge(Cow<'static, str>),
    /// For now.
    OverLimit {
        words: Cow<'static, str>,
        after: Duration,
    },
    QueueFull,
    ShutDown,
    TimedOut(Duration),
    /// It was taken, and is to be delivered before it is acknowledged. Nothing of it arrived, and
    /// another time it may.
    Lost,
    /// It was taken, and its sender has waited long enough to hear that it is delivered.
    NotYet,
}

impl Refusal {
    pub(super) fn words(&self) -> Cow<'static, str> {
        match self {
            Self::Disabled => "tracing is disabled here: no spans are taken".into(),
            Self::Method => "only opentelemetry.proto.collector.trace.v1.TraceService/Export is \
                             known here"
                .into(),
            Self::NotPost => "spans come by POST".into(),
            Self::MediaType => {
                "the content type must be application/x-protobuf or application/json".into()
            }
            Self::Encoding => "the only compression that is understood is gzip".into(),
            Self::NotIdentified => "nobody knows who sent the request".into(),
            Self::Loop => {
                "this forwarder gets its own exports: exporter_url leads back to it".into()
            }
            Self::TooManyHops => "the spans have come through more than 8 forwarders".into(),
            Self::Denied(words) | Self::Invalid(words) | Self::OverLimit { words, .. } => {
                words.clone()
            }
            // Exporters find in these words, and not in the status, that less would be taken.
            Self::TooLarge(words) => format!("message too large: {words}").into(),
            Self::QueueFull => "the queue is full".into(),
            Self::ShutDown => "the tracing service is shut down".into(),
            Self::TimedOut(time) => {
                format!("the request did not arrive within {} s", time.as_secs_f64()).into()
            }
            Self::Lost => "none of the spans could be delivered".into(),
            Self::NotYet => "the spans are not delivered yet, and may still be".into(),
        }
    }

    /// The gRPC status.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Invalid(_) | Self::MediaType | Self::NotPost => 3,
            Self::TimedOut(_) => 4,
            Self::Denied(_) => 7,
            Self::TooLarge(_) | Self::OverLimit { .. } => 8,
            Self::Loop | Self::TooManyHops => 9,
            Self::Disabled | Self::Method | Self::Encoding => 12,
            Self::NotIdentified => 13,
            Self::QueueFull | Self::ShutDown | Self::Lost | Self::NotYet => 14,
        }
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Disabled | Self::Method => StatusCode::NOT_FOUND,
            Self::NotPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OverLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotIdentified => StatusCode::INTERNAL_SERVER_ERROR,
            Self::QueueFull | Self::ShutDown | Self::Lost | Self::NotYet => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Loop | Self::TooManyHops => StatusCode::LOOP_DETECTED,
        }
    }

    /// When to try again, if that may help.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::OverLimit { after, .. } => Some(*after),
            Self::QueueFull | Self::ShutDown | Self::Lost => Some(SOON),
            _ => None,
        }
    }

    /// What it is counted as; nothing where the request was taken.
    pub(super) fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Disabled => Reason::Disabled,
            Self::Method | Self::NotPost | Self::MediaType | Self::Encoding => Reason::Unsupported,
            Self::Denied(_) | Self::NotIdentified => Reason::Denied,
            Self::Loop | Self::TooManyHops => Reason::Looping,
            Self::Invalid(_) => Reason::Invalid,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::OverLimit { .. } => Reason::OverLimit,
            Self::QueueFull => Reason::QueueFull,
            Self::ShutDown => Reason::ShutDown,
            Self::TimedOut(_) => Reason::TimedOut,
            Self::Lost | Self::NotYet => return None,
        })
    }
}

/// When to come again where nobody can know.
pub(super) const SOON: Duration = Duration::from_secs(1);
