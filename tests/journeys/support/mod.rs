//! What the journeys share: servers and clients on loopback sockets, bodies that the test
//! conducts, and a look at spans.

pub(crate) mod body;
pub(crate) mod child;
pub(crate) mod echo;
pub(crate) mod fault_proxy;
#[cfg(feature = "forward")]
pub(crate) mod malice;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub(crate) mod pki;
pub(crate) mod server;
pub(crate) mod spans;

/// Panics without a message on standard error: the panic is what the test is about.
pub(crate) fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("a panic that the test asked for"))
}
