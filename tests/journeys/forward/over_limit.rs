//! Each limit, over each protocol: who is above it is told so, and when to come again.

use std::io::Write;
use std::num::NonZeroU32;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tower_otlp::ForwardLimits;

use super::*;
use crate::sinks::collector::Collector;
use crate::sinks::script::Script;

/// How spans come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    Grpc,
    Protobuf,
    Json,
}

const ALL: [Over; 3] = [Over::Grpc, Over::Protobuf, Over::Json];
/// Of each request.
const SPANS: u16 = 50;

impl Over {
    /// A whole body, compressed or not.
    fn body(self, is_packed: bool) -> Vec<u8> {
        let message = match self {
            Self::Grpc | Self::Protobuf => encoded(1, SPANS),
            Self::Json => serde_json::to_vec(&request(1, SPANS)).unwrap(),
        };
        let message = if is_packed { gzip(&message) } else { message };
        match self {
            Self::Grpc => {
                let len = u32::try_from(message.len()).unwrap().to_be_bytes();
                [&[u8::from(is_packed)][..], &len, &message].concat()
            }
            Self::Protobuf | Self::Json => message,
        }
    }

    fn request(self, who: &str, is_packed: bool, body: impl Into<Body>) -> Request<Body> {
        let (media_type, encoding) = match self {
            Self::Grpc => ("application/grpc", "grpc-encoding"),
            Self::Protobuf => (PROTOBUF, "content-encoding"),
            Self::Json => (JSON, "content-encoding"),
        };
        let mut request = post(who, media_type, body);
        if self == Self::Grpc {
            *request.uri_mut() = EXPORT.parse().unwrap();
        }
        if is_packed {
            request.headers_mut().insert(encoding, "gzip".parse().unwrap());
        }
        request
    }

    async fn connect(self, forwarding: &Forwarding) -> Client {
        let address = if self == Self::Grpc { forwarding.grpc } else { forwarding.http };
        Client::connect(Version::HTTP_2, address).await
    }

    async fn send(self, forwarding: &Forwarding, who: &str, is_packed: bool) -> Result<(), Told> {
        let request = self.request(who, is_packed, self.body(is_packed));
        let answer = self.connect(forwarding).await.fetch(request).await.unwrap();
        match self {
            Self::Grpc => by_grpc(&answer),
            Self::Protobuf | Self::Json => self.by_http(&answer),
        }
    }

    fn by_http(self, answer: &Response<Bytes>) -> Result<(), Told> {
        let after = match answer.status().as_u16() {
            200 => return Ok(()),
            413 => None,
            429 => Some(Duration::from_secs(1)),
            other => panic!("{other}: {:?}", answer.body()),
        };
        let said = answer.headers().get("retry-after").map(|after| after.to_str().unwrap());
        assert_eq!(said, after.map(|_| "1"), "{self:?}");
        let (code, words) = match self {
            Self::Json => {
                let status: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                (status["code"].as_i64(), status["message"].as_str().unwrap().to_owned())
            }
            Self::Grpc | Self::Protobuf => {
                let status = RpcStatus::decode(answer.body().clone()).unwrap();
                assert_eq!(status.retry_after().is_some(), after.is_some(), "{status:?}");
                (Some(status.code.into()), status.message)
            }
        };
        assert_eq!(code, Some(8), "{self:?}");
        Err(Told { words, after })
    }
}

fn by_grpc(answer: &Response<Bytes>) -> Result<(), Told> {
    assert_eq!(answer.status().as_u16(), 200);
    // A status in the head is that of a call that failed.
    let Some(status) = Status::from_header_map(answer.headers()) else { return Ok(()) };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = RpcStatus::decode(status.details()).unwrap();
    if !status.details().is_empty() {
        assert_eq!((details.code, &*details.message), (8, status.message()));
    }
    Err(Told { words: status.message().to_owned(), after: details.retry_after() })
}

/// What a sender is told whose spans are too many.
#[derive(Debug)]
struct Told {
    words: String,
    /// When to come again, or that there is no sense in it.
    after: Option<Duration>,
}

/// A `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(uint64, tag = "1")]
    seconds: u64,
    #[prost(uint32, tag = "2")]
    nanos: u32,
}

impl RpcStatus {
    fn retry_after(&self) -> Option<Duration> {
        let [detail] = &self.details[..] else { return None };
        assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let delay = RetryInfo::decode(&detail.value[..]).unwrap().delay.unwrap();
        Some(Duration::new(delay.seconds, delay.nanos))
    }
}

/// How it comes to be too much.
#[derive(Clone, Copy, Debug)]
enum Excess {
    /// One sender sends, over and over.
    OfOne,
    /// Each time it is another one.
    OfMany,
    /// A request of alice's is under way when this sender comes.
    Beside(&'static str),
}

impl Excess {
    /// Sends until it is too much. Returns what the last one is told, and how many were taken.
    async fn reach(self, over: Over, forwarder: &SpanForwarder, at: &Forwarding) -> (Told, u64) {
        if let Self::Beside(who) = self {
            let open = open(over, forwarder, at).await;
            let told = over.send(at, who, false).await.unwrap_err();
            open.abort();
            return (told, 0);
        }
        let mut taken = 0;
        loop {
            let who = match self {
                Self::OfMany => format!("sender {taken}"),
                Self::OfOne | Self::Beside(_) => "alice".to_owned(),
            };
            match over.send(at, &who, false).await {
                Ok(()) => taken += 1,
                Err(told) => return (told, taken),
            }
        }
    }
}

/// Begins a request of alice's that does not end.
async fn open(over: Over, forwarder: &SpanForwarder, at: &Forwarding) -> JoinHandle<()> {
    let begun = stream::iter([Ok::<_, std::io::Error>(over.body(false)[..20].to_vec())]);
    let body = Body::from_stream(begun.chain(stream::pending()));
    let mut client = over.connect(at).await;
    let open = tokio::spawn(async move {
        drop(client.send(over.request("alice", false, body)).await);
    });
    while forwarder.stats().requests == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    open
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn who_is_over_a_limit_is_told_when_to_come_again() {
    let limits = ForwardLimits::default;
    let hundred = NonZeroU32::new(100).unwrap();
    let bytes = 100 << 10;
    let rows = [
        (
            limits().spans_per_second_of_each(hundred),
            Excess::OfOne,
            "more than 100 spans per second of this sender",
        ),
        (
            limits().spans_per_second(hundred),
            Excess::OfMany,
            "more than 100 spans per second of all senders",
        ),
        (
            limits().bytes_in_flight_of_each(bytes),
            Excess::OfOne,
            "too many bytes of this sender are under way",
        ),
        (
            limits().bytes_in_flight(bytes).bytes_in_flight_of_each(bytes),
            Excess::OfMany,
            "too many bytes of all senders are under way",
        ),
        (
            limits().requests_of_each(1),
            Excess::Beside("alice"),
            "too many requests of this sender at the same time",
        ),
        (
            limits().requests(1),
            Excess::Beside("bob"),
            "too many requests of all senders at the same time",
        ),
        (limits().identities(1), Excess::OfMany, "too many senders at the same time"),
    ];
    for (limits, excess, words) in rows {
        for over in ALL {
            // What is taken stays.
            let collector = Collector::start(Script::Silence);
            let tracing = tracing_to(&collector.grpc_url());
            let forwarder = by_name(&tracing).limits(limits.clone());
            let forwarding = Forwarding::start(&forwarder).await;
            let (told, taken) = excess.reach(over, &forwarder, &forwarding).await;
            assert_eq!(told.words, words, "{over:?}");
            let after = told.after.unwrap_or_default();
            assert!(!after.is_zero() && after <= Duration::from_secs(1), "{over:?}: {after:?}");
            let stats = forwarder.stats();
            assert_eq!((stats.taken, stats.refused.over_limit), (taken, 1), "{over:?}: {words}");
            assert_eq!(stats.refused.total(), 1, "{over:?}: {words}");
            collector.play(Script::Ok);
            let spans = taken * u64::from(SPANS);
            assert_eq!(tracing.shutdown(LONG).await, delivered(spans), "{over:?}: {words}");
        }
    }
}

#[tokio::test]
async fn what_can_never_be_taken_is_refused_for_good_and_in_words_that_exporters_know() {
    let limits = ForwardLimits::default;
    let ten = NonZeroU32::new(10).unwrap();
    let rows = [
        (limits().message_bytes(1000), false, "the limit is 1000 bytes"),
        (limits().message_bytes(1000), true, "the limit is 1000 bytes"),
        (limits().spans_per_second_of_each(ten), false, "more than 10 spans or resources"),
        (limits().spans_per_second(ten), true, "more than 10 spans or resources"),
        (
            limits().bytes_in_flight_of_each(1000),
            false,
            "more bytes than this sender may have under way",
        ),
        (limits().bytes_in_flight(1000), true, "more bytes than this sender may have under way"),
    ];
    for (limits, is_packed, words) in rows {
        for over in ALL {
            // Compressed it would not be too large.
            assert!(!is_packed || over.body(true).len() < 1000, "{}", over.body(true).len());
            let collector = Collector::start(Script::Ok);
            let tracing = tracing_to(&collector.grpc_url());
            let forwarder = by_name(&tracing).limits(limits.clone());
            let forwarding = Forwarding::start(&forwarder).await;
            let told = over.send(&forwarding, "alice", is_packed).await.unwrap_err();
            assert_eq!(told.words, format!("message too large: {words}"), "{over:?}");
            assert_eq!(told.after, None, "{over:?}: {words}");
            let stats = forwarder.stats();
            assert_eq!((stats.refused.too_large, stats.refused.total()), (1, 1), "{over:?}");
            assert_eq!(tracing.shutdown(LONG).await, Stats::default(), "{over:?}: {words}");
        }
    }
}
