//! What the layers go around, and the requests that are made of it.

mod client;
mod grpc;
pub(crate) mod route;

use std::str::FromStr;

use crate::setup::Tracing;
use crate::subject::{Mode, Subject};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Around {
    /// A route of axum.
    Route,
    /// A service of tonic, with the routes of its server.
    Grpc,
    /// A client that is answered at once.
    Client,
}

/// Makes one request, to the end of the answer. Nothing in it ever waits, so no runtime is needed,
/// and none is measured.
pub(crate) type Call = Box<dyn Fn()>;

impl Around {
    /// Puts the layer around it.
    pub(crate) fn call(self, subject: Subject, mode: Mode, tracing: &Tracing) -> Call {
        match self {
            Self::Route => route::call(route::layered(subject, mode, tracing), mode),
            Self::Grpc => grpc::call(subject, mode, tracing),
            Self::Client => client::call(subject, mode, tracing),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Grpc => "call",
            Self::Client => "client",
        }
    }
}

impl FromStr for Around {
    type Err = ();

    /// From what `Debug` has written.
    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Route, Self::Grpc, Self::Client];
        all.into_iter().find(|around| format!("{around:?}") == text).ok_or(())
    }
}

fn not_for(around: Around, subject: Subject) -> ! {
    panic!("{} is no layer for a {}", subject.name(), around.name())
}

/// The header of a caller that has sampled its trace.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
