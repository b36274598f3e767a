//! gRPC client spans.

use ::http::StatusCode;

use crate::grpc_status::GrpcStatus;
use crate::trace::cause::Failure;
use crate::trace::exchange::End;
use crate::trace::semconv::{Description, Verdict, error_type};

/// What a call writes when it starts is what its server writes, too: the method is the same, and a
/// channel shows no address but the one that was set.
pub(in crate::trace) use super::start;

/// The status that the call ended with: what its caller sees.
pub(in crate::trace::semconv) fn status(http: Option<StatusCode>, end: End<'_>) -> GrpcStatus {
    match end {
        End::Error(cause) => cause.grpc_status(),
        end => super::status(http, end),
    }
}

/// Judges a call that ended with `status`: whatever is not `OK` is an error.
pub(in crate::trace::semconv) fn verdict(status: GrpcStatus, end: End<'_>) -> Verdict<'_> {
    if status.is_ok() {
        return Verdict::default();
    }
    match end {
        End::Panicked => Verdict::error(error_type::PANIC),
        End::Error(cause) => {
            // A status that says nothing leaves the word to what happened.
            let failure = cause.failure().filter(|_| status == GrpcStatus::UNKNOWN);
            let error_type = failure.map_or_else(|| status.name(), Failure::error_type);
            Verdict::described(error_type, Description::Error(cause))
        }
        End::Trailers(trailers) => {
            Verdict::described(status.name(), Description::Message(trailers))
        }
        End::Complete | End::Cancelled => Verdict::error(status.name()),
    }
}
