//! The attribute sets of gRPC, by method.
//!
//! The layer does not know which methods the service has, and a client may call any name it makes
//! up: as an attribute it would make a new series each time. So a name is taken for a method only
//! when a call of it has ended, not with `UNIMPLEMENTED`, and while there is room. A layer inside
//! may refuse calls before anybody looks at their method; names that were never answered with `OK`
//! therefore get a small room of their own, and cannot crowd out those that were. A client chooses
//! what it calls, so all of its methods share the large one.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::KeyValue;

use super::endings::Endings;
use super::table::{Budget, Inserted, Table};
use crate::grpc_status::GrpcStatus;
use crate::trace::layer::Side;
use crate::trace::semconv::{Code, Outcome};

#[derive(Debug)]
pub(super) struct Calls {
    side: Side,
    methods: Table<Box<Method>>,
    other: Method,
    /// For methods that have been answered with `OK`, and for all that a client calls.
    proven: Budget,
    /// For those that have not.
    unproven: Budget,
    hasher: RandomState,
}

/// Whom a call is for.
#[derive(Debug)]
pub(super) enum Callee {
    Known(usize),
    /// Perhaps a method: that shows when the call ends.
    New(Box<Name>),
    Other,
}

/// What is called, and of a client's call where, if that is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    method: Arc<str>,
    address: Option<(Arc<str>, Option<u16>)>,
}

impl Name {
    fn is(&self, method: &str, address: Option<(&str, Option<u16>)>) -> bool {
        *self.method == *method && self.address() == address
    }

    fn address(&self) -> Option<(&str, Option<u16>)> {
        self.address.as_ref().map(|(host, port)| (&**host, *port))
    }
}

#[derive(Debug)]
struct Method {
    name: Name,
    proven: AtomicBool,
    endings: Endings,
}

impl Calls {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            methods: Table::new(2 * (MOST_PROVEN + MOST_UNPROVEN)),
            other: Method::new(Name { method: "_OTHER".into(), address: None }, true),
            proven: Budget::new(MOST_PROVEN),
            unproven: Budget::new(MOST_UNPROVEN),
            hasher: RandomState::new(),
        }
    }
}

impl Calls {
    /// The method of this path, at this address. Allocates only when it is new.
    pub(super) fn find(&self, path: &str, address: Option<(&str, Option<u16>)>) -> Callee {
        let name = path.strip_prefix('/').unwrap_or(path);
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Callee::Other;
        }
        let hash = self.hasher.hash_one((name, address));
        match self.methods.find(hash, |there| there.name.is(name, address)) {
            Some(index) => Callee::Known(index),
            None => {
                let address = address.map(|(host, port)| (host.into(), port));
                Callee::New(Box::new(Name { method: name.into(), address }))
            }
        }
    }

    /// The attributes of a call that ended so.
    pub(super) fn ended(&self, callee: &Callee, outcome: &Outcome<'_>) -> Cow<'_, [KeyValue]> {
        let method = self.method(callee, outcome.code).unwrap_or(&self.other);
        method.endings.of(outcome, || method.attributes())
    }

    /// `None` stands for all that cannot be told apart.
    fn method(&self, callee: &Callee, code: Option<Code>) -> Option<&Method> {
        // A client knows what it calls, also when nobody serves it.
        if self.side == Side::Server && code == Some(Code::Grpc(GrpcStatus::UNIMPLEMENTED)) {
            return None;
        }
        let is_proven = self.side == Side::Client || code == Some(Code::Grpc(GrpcStatus::OK));
        match callee {
            Callee::Other => None,
            Callee::Known(index) => {
                let method = self.methods.get(*index)?;
                if is_proven {
                    self.prove(method);
                }
                Some(method)
            }
            Callee::New(name) => self.admit(name, is_proven),
        }
    }

    fn admit(&self, name: &Name, is_proven: bool) -> Option<&Method> {
        let room = if is_proven { &self.proven } else { &self.unproven };
        if !room.take() {
            return None;
        }
        let hash = self.hasher.hash_one((&*name.method, name.address()));
        let new = Box::new(Method::new(name.clone(), is_proven));
        match self.methods.insert(hash, new, |there, _| there.name == *name) {
            Inserted::New(index) => self.methods.get(index).map(|method| &**method),
            Inserted::There(index) => {
                room.give_back();
                self.method(&Callee::Known(index), is_proven.then_some(Code::Grpc(GrpcStatus::OK)))
            }
            Inserted::Full => {
                room.give_back();
                None
            }
        }
    }

    /// A call of the method was answered with `OK`.
    fn prove(&self, method: &Method) {
        if method.proven.load(Ordering::Relaxed) || !self.proven.take() {
            return;
        }
        let before = method.proven.swap(true, Ordering::Relaxed);
        let freed = if before { &self.proven } else { &self.unproven };
        freed.give_back();
    }
}

impl Method {
    fn new(name: Name, proven: bool) -> Self {
        Self { name, proven: proven.into(), endings: Endings::default() }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let Name { method, address } = self.name.clone();
        let mut attributes =
            vec![KeyValue::new("rpc.method", method), KeyValue::new("rpc.system.name", "grpc")];
        if let Some((host, port)) = address {
            attributes.push(KeyValue::new("server.address", host));
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        attributes
    }
}

const MOST_PROVEN: usize = 1000;
const MOST_UNPROVEN: usize = 100;
/// Bytes of a name that may be a method's.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_was_answered_with_ok_makes_room_for_another() {
        let calls = Calls::new(Side::Server);
        let is_named = |name: &str, status| {
            let callee = calls.find(name, None);
            calls.method(&callee, Some(Code::Grpc(status))).is_some()
        };

        (0..100).for_each(|i| assert!(is_named(&format!("/s/{i}"), GrpcStatus::UNKNOWN)));
        assert!(!is_named("/s/100", GrpcStatus::UNKNOWN), "no room");
        assert!(is_named("/s/7", GrpcStatus::UNKNOWN), "but for those that have it");
        assert!(is_named("/s/7", GrpcStatus::OK));
        assert!(is_named("/s/100", GrpcStatus::UNKNOWN), "now there is");
        assert!(!is_named("/s/101", GrpcStatus::UNKNOWN), "for one");
        assert!(is_named("/s/101", GrpcStatus::OK), "proven at once");
        assert!(!is_named("/s/7", GrpcStatus::UNIMPLEMENTED), "whoever was called");
    }

    #[test]
    fn what_a_client_calls_needs_no_proof() {
        let calls = Calls::new(Side::Client);
        for (expected, port) in [(true, 0..MOST_PROVEN), (false, MOST_PROVEN..MOST_PROVEN + 10)] {
            for port in port {
                let callee = calls.find("/s/m", Some(("h", u16::try_from(port).ok())));
                let is_named = calls.method(&callee, Some(Code::Grpc(GrpcStatus::UNIMPLEMENTED)));
                assert_eq!(is_named.is_some(), expected, "{port}");
            }
        }
    }

    #[test]
    fn calls_that_end_at_once_take_one_room_for_their_method() {
        let calls = Calls::new(Side::Server);
        let first = calls.find("/s/m", None);
        let second = calls.find("/s/m", None);
        for callee in [&first, &second] {
            let method = calls.method(callee, Some(Code::Grpc(GrpcStatus::UNKNOWN))).unwrap();
            assert_eq!(&*method.name.method, "s/m");
        }
        let room = (1..).take_while(|i| {
            let callee = calls.find(&format!("/s/{i}"), None);
            calls.method(&callee, Some(Code::Grpc(GrpcStatus::UNKNOWN))).is_some()
        });
        assert_eq!(room.count(), 99);
    }
}
