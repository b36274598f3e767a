//! Who is at the other end.

mod forwarded;
mod network;

pub use network::{Network, ParseNetworkError};
