//! The kinds of failures that are told apart, and the gRPC status that a failure becomes.

use std::error::Error;
use std::io;

use super::Cause;
use crate::grpc_status::GrpcStatus;

/// What went wrong, of a small set: values of `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Failure {
    NameResolution,
    ConnectionRefused,
    Tls,
    /// The connection could not be made, for another reason.
    Connect,
    Timeout,
    ConnectionReset,
    ConnectionClosed,
    #[cfg(feature = "_h2")]
    StreamReset,
    #[cfg(feature = "reqwest")]
    Redirect,
}

impl Failure {
    pub(in crate::trace) fn error_type(self) -> &'static str {
        match self {
            Self::NameResolution => "name_resolution_error",
            Self::ConnectionRefused => "connection_refused",
            Self::Tls => "tls_error",
            Self::Connect => "connect_error",
            Self::Timeout => "timeout",
            Self::ConnectionReset => "connection_reset",
            Self::ConnectionClosed => "connection_closed",
            #[cfg(feature = "_h2")]
            Self::StreamReset => "stream_reset",
            #[cfg(feature = "reqwest")]
            Self::Redirect => "redirect_error",
        }
    }
}

impl Cause<'_> {
    /// What went wrong, where a source says it. The innermost that does counts: it is closest to
    /// what happened.
    pub(in crate::trace) fn failure(self) -> Option<Failure> {
        let mut found = None;
        let mut connecting = false;
        for error in self.chain() {
            connecting |= is_connect(error);
            found = failure(error, connecting).or(found);
        }
        found.or_else(|| connecting.then_some(Failure::Connect))
    }

    /// The status that tonic makes of this error for its caller. What it has no status for is
    /// `UNKNOWN`, and so is every error without the features that know the types of clients.
    pub(in crate::trace) fn grpc_status(self) -> GrpcStatus {
        self.chain().find_map(grpc_status).unwrap_or(GrpcStatus::UNKNOWN)
    }
}

/// Whether the sources of this error are about making a connection.
fn is_connect(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "_hyper")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect();
    }
    #[cfg(feature = "tonic")]
    if error.is::<tonic::ConnectError>() {
        return true;
    }
    let _ = error;
    false
}

/// What this one error says, whatever its sources say.
fn failure(error: &(dyn Error + 'static), connecting: bool) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return io_failure(error, connecting);
    }
    #[cfg(feature = "_hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return if error.is_timeout() {
            Some(Failure::Timeout)
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Some(Failure::ConnectionClosed)
        } else {
            None
        };
    }
    #[cfg(feature = "_h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        // What this side resets has another reason, which comes elsewhere.
        return if error.is_reset() && error.is_remote() {
            Some(Failure::StreamReset)
        } else if error.is_go_away() && error.is_remote() {
            Some(Failure::ConnectionClosed)
        } else {
            None
        };
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return error.is_redirect().then_some(Failure::Redirect);
    }
    #[cfg(feature = "tonic")]
    if error.is::<tonic::TimeoutExpired>() {
        return Some(Failure::Timeout);
    }
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(Failure::Timeout);
    }
    by_text(error)
}

fn io_failure(error: &io::Error, connecting: bool) -> Option<Failure> {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Some(Failure::ConnectionRefused),
        Kind::TimedOut => Some(Failure::Timeout),
        Kind::ConnectionReset | Kind::ConnectionAborted => Some(Failure::ConnectionReset),
        // Also what h2 makes of a connection that ends too early.
        Kind::BrokenPipe => Some(Failure::ConnectionClosed),
        // A connection carries no data before there is one: these are what rustls and its like
        // report of a handshake.
        Kind::InvalidData | Kind::UnexpectedEof if connecting => Some(Failure::Tls),
        Kind::UnexpectedEof => Some(Failure::ConnectionClosed),
        _ => None,
    }
}

/// For errors whose types are in crates that this one does not need, or are private to theirs.
/// Only a whole text counts.
fn by_text(error: &(dyn Error + 'static)) -> Option<Failure> {
    match super::describe(error).as_str() {
        // `hyper_util::client::legacy::connect::HttpConnector`.
        "dns error" => Some(Failure::NameResolution),
        // `tower::timeout`, and reqwest.
        "request timed out" | "operation timed out" => Some(Failure::Timeout),
        _ => None,
    }
}

fn grpc_status(error: &(dyn Error + 'static)) -> Option<GrpcStatus> {
    #[cfg(feature = "tonic")]
    {
        if let Some(status) = error.downcast_ref::<tonic::Status>() {
            return Some(status.code().into());
        }
        if error.is::<tonic::TimeoutExpired>() {
            return Some(GrpcStatus::CANCELLED);
        }
        if error.is::<tonic::ConnectError>() {
            return Some(GrpcStatus::UNAVAILABLE);
        }
    }
    #[cfg(feature = "_hyper")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_timeout() {
            // Of a keep-alive ping: the server is gone.
            return Some(GrpcStatus::UNAVAILABLE);
        }
        if error.is_canceled() {
            return Some(GrpcStatus::CANCELLED);
        }
    }
    #[cfg(feature = "_h2")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        return Some(error.reason().map_or(GrpcStatus::UNKNOWN, GrpcStatus::from_h2));
    }
    let _ = error;
    None
}
