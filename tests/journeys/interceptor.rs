//! tonic clients and servers that have an interceptor, and no room for a layer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client;
use tonic::server::{self, NamedService};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tower_otlp::{TraceContext, TraceInterceptor, TraceLayer};

use crate::support::echo::serve;
use crate::support::spans::{all, at_rate};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const ALWAYS: u32 = 1_000_000;

#[tokio::test]
async fn a_call_of_the_handler_continues_its_span_in_the_next_service() {
    // What the caller sends of traceparent, tracestate and baggage; spans; reason.
    let flags = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
    let rows = [
        ([String::new(), "".into(), "".into()], 2, "a new trace"),
        ([flags("01"), "a@@b=1".into(), "user=al%20ice;ttl=1".into()], 2, "of one who records"),
        ([flags("02"), "a@@b=1".into(), "user=al%20ice;ttl=1".into()], 0, "of one who does not"),
        ([flags("00"), "".into(), "".into()], 0, "and says no more than that"),
    ];
    for (sent, recorded, why) in rows {
        let (tracing, spans) = at_rate(ALWAYS);
        let (relay, mut seen) = Relay::new(None);
        let back = Server::builder().layer(TraceLayer::server(&tracing)).add_service(relay);
        let (relay, mut seen_before) = Relay::new(Some(serve(back).await));
        let front = Server::builder().layer(TraceLayer::server(&tracing)).add_service(relay);

        let headers = headers(&["traceparent", "tracestate", "baggage"], &sent);
        call(serve(front).await, None, headers).await.unwrap();
        let before = seen_before.recv().await.unwrap().current.unwrap();
        let after = seen.recv().await.unwrap();

        let traceparent = after.text("traceparent");
        let expected = format!(
            "00-{}-{}-{:02x}",
            before.trace_id(),
            before.span_id(),
            before.trace_flags().to_u8()
        );
        assert_eq!(traceparent, expected, "in place of the stale one: {why}");
        // A trace that starts here says how it was sampled.
        let tracestate = if sent[0].is_empty() { "ot=th:0" } else { &sent[1] };
        assert_eq!(
            [after.text("tracestate"), after.text("baggage")],
            [tracestate, &sent[2]],
            "{why}"
        );

        let spans = all(tracing, spans).await;
        assert_eq!(spans.len(), recorded, "{why}");
        if let [back, front] = &spans[..] {
            assert_eq!(back.trace_id, front.trace_id, "{why}");
            assert_eq!(front.span_id, before.span_id(), "{why}");
            assert_eq!(back.parent_span_id, Some(front.span_id), "{why}");
            assert_eq!([&back.kind, &front.kind], [&SpanKind::Server; 2], "no client span: {why}");
        }
    }
}

#[tokio::test]
async fn what_a_client_sends_is_what_is_current() {
    let span = |flags| {
        let ids = (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap());
        let state = TraceState::from_key_value([("a", "1")]).unwrap();
        let span = SpanContext::new(ids.0, ids.1, TraceFlags::new(flags), false, state);
        Context::new().with_remote_span_context(span)
    };
    let user = || [KeyValue::new("user", "al,ice")];
    let (sampled, not_sampled) = (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00"));
    const STALE: [&str; 3] = ["stale"; 3];
    let rows = [
        (span(1), [&*sampled, "a=1", ""], "a span, and no baggage: that of before is gone"),
        (span(0), [&*not_sampled, "a=1", ""], "one that is not recorded"),
        (span(1).with_baggage(user()), [&*sampled, "a=1", "user=al%2Cice"], "a span and baggage"),
        (Context::new(), STALE, "nothing is current, so nothing is touched"),
        (Context::new().with_baggage(user()), ["stale", "stale", "user=al%2Cice"], "baggage alone"),
        (span(1).with_telemetry_suppressed(), STALE, "an exporter does not trace itself"),
    ];
    let (relay, mut seen) = Relay::new(None);
    let address = serve(Server::builder().add_service(relay)).await;
    for (current, expected, why) in rows {
        let inject = Some(TraceInterceptor::inject());
        call(address, inject, stale()).with_context(current).await.unwrap();
        let seen = seen.recv().await.unwrap();
        let names = ["traceparent", "tracestate", "baggage"];
        assert_eq!(names.map(|name| seen.text(name)), expected, "{why}");
        assert_eq!(seen.caller, None, "nobody extracts: {why}");
    }
}

#[tokio::test]
async fn a_handler_learns_who_called_and_a_caller_who_talks_nonsense_is_served() {
    let sampled = &*format!("00-{TRACE}-{SPAN}-03");
    let long = "x".repeat(9000);
    // Names and values of the metadata, tracestate and baggage of the caller if there is one.
    type Sent<'a> = &'a [(&'a str, &'a [u8])];
    type Caller<'a> = Option<[Option<&'a str>; 2]>;
    let rows: [(Sent<'_>, Caller<'_>, &str); 9] = [
        (&[("traceparent", sampled.as_bytes())], Some([None, None]), "just a place in a trace"),
        (
            &[
                ("traceparent", sampled.as_bytes()),
                ("tracestate", b"a@@b=1"),
                ("tracestate", b"c=2"),
                ("baggage", b"k=v;p"),
            ],
            Some([Some("a@@b=1,c=2"), Some("k=v;p")]),
            "all of it, joined",
        ),
        (
            &[("traceparent", sampled.as_bytes()), ("tracestate", b"\xff"), ("baggage", b"\xff")],
            Some([None, None]),
            "what is malformed beside it is dropped",
        ),
        (
            &[("traceparent", sampled.as_bytes()), ("baggage", long.as_bytes())],
            Some([None, None]),
            "baggage that is too long",
        ),
        (&[], None, "nothing"),
        (&[("baggage", b"k=v")], None, "baggage alone is no place in a trace"),
        (&[("traceparent", b"\xff\xfe")], None, "not even text"),
        (&[("traceparent", b"00-0-0-01")], None, "too short"),
        (
            &[("traceparent", sampled.as_bytes()), ("traceparent", sampled.as_bytes())],
            None,
            "two are one too many",
        ),
    ];
    let (relay, mut seen) = Relay::new(None);
    let relay = InterceptedService::new(relay, TraceInterceptor::extract());
    let address = serve(Server::builder().add_service(relay)).await;
    for (sent, expected, why) in rows {
        let mut headers = HeaderMap::new();
        for &(name, value) in sent {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let answer = call(address, None, headers).await.unwrap();
        assert_eq!(answer, "hello", "{why}");
        let seen = seen.recv().await.unwrap();
        let found = seen.caller.as_ref().map(|caller| [caller.tracestate(), caller.baggage()]);
        assert_eq!(found, expected, "{why}");
        if let Some(caller) = seen.caller {
            assert_eq!(caller.trace_id().to_string(), TRACE, "{why}");
            assert_eq!(caller.span_id().to_string(), SPAN, "{why}");
            assert_eq!(caller.trace_flags().to_u8(), 3, "{why}");
        }
        assert_eq!(seen.current, None, "{why}");
    }
}

#[tokio::test]
async fn beside_a_layer_it_tells_of_the_caller_and_the_layer_s_span_is_current() {
    let (tracing, spans) = at_rate(0);
    let (relay, mut seen) = Relay::new(None);
    let relay = InterceptedService::new(relay, TraceInterceptor::extract());
    let server = Server::builder().layer(TraceLayer::server(&tracing)).add_service(relay);
    let sent = headers(&["traceparent"], &[format!("00-{TRACE}-{SPAN}-01")]);
    call(serve(server).await, None, sent).await.unwrap();

    let seen = seen.recv().await.unwrap();
    let [span] = &all(tracing, spans).await[..] else { panic!("one span") };
    assert_eq!(seen.caller.unwrap().span_id().to_string(), SPAN);
    assert_eq!(seen.current.unwrap().span_id(), span.span_id);
}

#[tokio::test]
async fn a_refusal_of_the_service_reaches_the_client_past_both_interceptors() {
    let (relay, _seen) = Relay::new(None);
    let relay = InterceptedService::new(relay, TraceInterceptor::extract());
    let address = serve(Server::builder().add_service(relay)).await;
    let refused = headers(&["refuse"], &["yes".to_owned()]);
    let status = call(address, Some(TraceInterceptor::inject()), refused).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "as asked"));
}

/// `test.Relay`: tells what it sees of a request and calls the next service, if there is one.
#[derive(Clone)]
struct Relay {
    next: Option<SocketAddr>,
    seen: mpsc::UnboundedSender<Seen>,
}

struct Seen {
    metadata: HeaderMap,
    caller: Option<TraceContext>,
    current: Option<TraceContext>,
}

impl Relay {
    fn new(next: Option<SocketAddr>) -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (seen, told) = mpsc::unbounded_channel();
        (Self { next, seen }, told)
    }

    async fn answer(
        self,
        request: tonic::Request<String>,
    ) -> Result<tonic::Response<String>, Status> {
        if request.metadata().contains_key("refuse") {
            return Err(Status::permission_denied("as asked"));
        }
        let caller = request.extensions().get().cloned();
        let metadata = request.metadata().as_ref().clone();
        let _ = self.seen.send(Seen { metadata, caller, current: TraceContext::current() });
        if let Some(next) = self.next {
            call(next, Some(TraceInterceptor::inject()), stale()).await?;
        }
        Ok(tonic::Response::new(request.into_inner()))
    }
}

impl Seen {
    /// All of a header, where none is an empty text.
    fn text(&self, name: &str) -> String {
        let values = self.metadata.get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join(" and ")
    }
}

impl Service<Request<Body>> for Relay {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let relay = self.clone();
        Box::pin(async move {
            let service = service_fn(|request| relay.clone().answer(request));
            let mut grpc = server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(service, request).await)
        })
    }
}

impl NamedService for Relay {
    const NAME: &'static str = "test.Relay";
}

/// Calls a [`Relay`] with these metadata, through the interceptor if there is one.
async fn call(
    address: SocketAddr,
    interceptor: Option<TraceInterceptor>,
    metadata: HeaderMap,
) -> Result<String, Status> {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut request = tonic::Request::new("hello".to_owned());
    *request.metadata_mut().as_mut() = metadata;
    let path = http::uri::PathAndQuery::from_static("/test.Relay/Call");
    let codec = ProstCodec::<String, String>::default();
    let response = match interceptor {
        None => {
            let mut client = client::Grpc::new(channel);
            client.ready().await.unwrap();
            client.unary(request, path, codec).await?
        }
        Some(interceptor) => {
            let mut client = client::Grpc::new(InterceptedService::new(channel, interceptor));
            client.ready().await.unwrap();
            client.unary(request, path, codec).await?
        }
    };
    Ok(response.into_inner())
}

/// What a client has left in the metadata from another call.
fn stale() -> HeaderMap {
    headers(&["traceparent", "tracestate", "baggage"], &["stale"; 3].map(str::to_owned))
}

/// Headers, but for those that are empty.
fn headers(names: &[&'static str], values: &[String]) -> HeaderMap {
    let pairs = names.iter().zip(values).filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}
