//! The measurements of requests in any order and with any end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::metrics::{
    Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter, MeterProvider,
    SyncInstrument, UpDownCounter,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{ResponseBody, TraceLayer, TracingService, TracingServiceConfig};

/// The sum and the count of what each instrument measured, by its attributes.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, (f64, u64)>>>);

struct Instrument {
    name: String,
    book: Book,
}

impl SyncInstrument<f64> for Instrument {
    fn measure(&self, value: f64, attributes: &[KeyValue]) {
        self.book.enter(&self.name, value, attributes);
    }
}

impl SyncInstrument<i64> for Instrument {
    fn measure(&self, value: i64, attributes: &[KeyValue]) {
        self.book.enter(&self.name, value as f64, attributes);
    }
}

impl Book {
    fn enter(&self, name: &str, value: f64, attributes: &[KeyValue]) {
        let attributes = attributes.iter().map(|kv| format!(" {}={}", kv.key, kv.value));
        let line = name.to_owned() + &attributes.collect::<String>();
        let mut book = self.0.lock().unwrap();
        let (sum, count) = book.entry(line).or_default();
        *sum += value;
        *count += 1;
    }

    /// Sum and count of the lines that begin so.
    fn total(&self, line: &str) -> (f64, u64) {
        let book = self.0.lock().unwrap();
        let lines = book.iter().filter(|(found, _)| found.starts_with(line));
        lines.fold((0.0, 0), |total, (_, (sum, count))| (total.0 + sum, total.1 + count))
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    fn instrument(&self, name: &str) -> Arc<Instrument> {
        Arc::new(Instrument { name: name.to_owned(), book: self.clone() })
    }
}

impl InstrumentProvider for Book {
    fn i64_up_down_counter(
        &self,
        builder: InstrumentBuilder<'_, UpDownCounter<i64>>,
    ) -> UpDownCounter<i64> {
        UpDownCounter::new(self.instrument(&builder.name))
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        Histogram::new(self.instrument(&builder.name))
    }
}

impl MeterProvider for Book {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(self.clone()))
    }
}

const ACTIVE: &str = "http.server.active_requests";
const HTTP: &str = "http.server.request.duration";
const RPC: &str = "rpc.server.call.duration";

proptest! {
    #[test]
    fn the_gauge_follows_and_returns_to_zero_and_each_request_is_recorded_once(
        requests in prop::collection::vec((0..WAYS.len(), any::<bool>(), any::<prop::sample::Index>()), 1..20),
        tracing in 0..3,
    ) {
        let config = TracingServiceConfig::default().enabled(tracing > 0);
        let config = config.sampling_rate_per_million(if tracing > 1 { 1_000_000 } else { 0 });
        let (tracing, _spans) = config.start_in_memory("test").unwrap();
        let book = Book::default();
        let layer = TraceLayer::server(&tracing).metrics(&book).body_size_metrics(true);
        let mut service = layer.layer(service_fn(|request: Request<Way>| answer(*request.body())));

        // What has begun and not ended; of it, and of all that has ended, how many are HTTP.
        let mut open = Vec::new();
        let mut ended = [0, 0];
        for (way, grpc, drops) in requests {
            match run(&mut service, WAYS[way], grpc) {
                Some(left) => open.push((grpc, left)),
                None => ended[usize::from(grpc)] += 1,
            }
            // About every other time something is given up.
            let given_up = drops.index(2 * open.len() + 1);
            if given_up < open.len() {
                let (grpc, left) = open.swap_remove(given_up);
                drop(left);
                ended[usize::from(grpc)] += 1;
            }
            let under_way = open.iter().filter(|(grpc, _)| !grpc).count();
            prop_assert_eq!(book.total(ACTIVE).0, under_way as f64);
            prop_assert_eq!([book.total(HTTP).1, book.total(RPC).1], ended);
        }
        for (grpc, left) in open {
            drop(left);
            ended[usize::from(grpc)] += 1;
        }
        prop_assert_eq!(book.total(ACTIVE), (0.0, 2 * ended[0]), "one up and one down each");
        prop_assert_eq!([book.total(HTTP).1, book.total(RPC).1], ended);
    }
}

/// How a request ends, if nobody gives it up before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    Empty,
    ServiceError,
    ServicePanic,
    CallPanic,
    BodyError,
    BodyPanic,
    NeverAnswers,
    NeverEnds,
    BodyUnread,
}

const WAYS: [Way; 10] = [
    Way::Whole,
    Way::Empty,
    Way::ServiceError,
    Way::ServicePanic,
    Way::CallPanic,
    Way::BodyError,
    Way::BodyPanic,
    Way::NeverAnswers,
    Way::NeverEnds,
    Way::BodyUnread,
];

type Answer = Pin<Box<dyn Future<Output = io::Result<Response<TestBody>>>>>;
type TestBody = UnsyncBoxBody<Bytes, io::Error>;

fn answer(way: Way) -> Answer {
    if way == Way::CallPanic {
        panic_quietly();
    }
    let rest = stream::once(async move {
        match way {
            Way::BodyError => Err(io::Error::other("the disk is gone")),
            Way::BodyPanic => panic_quietly(),
            Way::NeverEnds => std::future::pending().await,
            _ => Ok(data("the other half")),
        }
    });
    let frames = stream::iter([Ok(data("half of"))]).chain(rest);
    Box::pin(async move {
        match way {
            Way::ServiceError => Err(io::Error::other("no database")),
            Way::ServicePanic => panic_quietly(),
            Way::NeverAnswers => std::future::pending().await,
            Way::Empty => Ok(Response::default()),
            _ => Ok(Response::new(StreamBody::new(frames).boxed_unsync())),
        }
    })
}

/// Something that is not over until it is dropped.
enum Left<F> {
    Future { _future: Pin<Box<F>> },
    Body { _body: Box<ResponseBody<TestBody>> },
}

/// Makes a request and goes as far with it as it gets.
fn run<S>(service: &mut S, way: Way, grpc: bool) -> Option<Left<S::Future>>
where
    S: Service<Request<Way>, Response = Response<ResponseBody<TestBody>>, Error = io::Error>,
{
    let mut request = Request::post("/test.Echo/One");
    if grpc {
        request = request.header("content-type", "application/grpc");
    }
    let request = request.body(way).unwrap();
    let cx = &mut TaskContext::from_waker(Waker::noop());

    let future = catch_unwind(AssertUnwindSafe(|| service.call(request))).ok()?;
    let mut future = Box::pin(future);
    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).ok()?;
    let Poll::Ready(answer) = polled else { return Some(Left::Future { _future: future }) };
    let mut body = answer.ok()?.into_body();
    if way == Way::BodyUnread {
        return Some(Left::Body { _body: Box::new(body) });
    }
    loop {
        let poll = || Pin::new(&mut body).poll_frame(cx);
        match catch_unwind(AssertUnwindSafe(poll)).ok()? {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None | Some(Err(_))) => return None,
            Poll::Pending => return Some(Left::Body { _body: Box::new(body) }),
        }
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("a panic that the test asked for"))
}

#[test]
fn an_instrument_that_panics_loses_no_span() {
    struct Panics(Book);
    struct Fails;
    impl SyncInstrument<f64> for Fails {
        fn measure(&self, _: f64, _: &[KeyValue]) {
            panic_quietly();
        }
    }
    impl InstrumentProvider for Panics {
        fn i64_up_down_counter(
            &self,
            builder: InstrumentBuilder<'_, UpDownCounter<i64>>,
        ) -> UpDownCounter<i64> {
            self.0.i64_up_down_counter(builder)
        }

        fn f64_histogram(&self, _: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
            Histogram::new(Arc::new(Fails))
        }
    }
    impl MeterProvider for Panics {
        fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
            Meter::new(Arc::new(Self(self.0.clone())))
        }
    }

    let (tracing, mut spans) = TracingService::in_memory();
    let book = Book::default();
    let layer = TraceLayer::server(&tracing).metrics(&Panics(book.clone()));
    let mut service = layer.layer(service_fn(|request: Request<Way>| answer(*request.body())));
    for (way, error_type) in [(Way::Empty, None), (Way::ServiceError, Some("service_error"))] {
        assert!(run(&mut service, way, false).is_none());
        tracing.flush_blocking(std::time::Duration::from_secs(30));
        let span = spans.take().pop().unwrap();
        let found = span.attribute("error.type").map(ToString::to_string);
        assert_eq!(found.as_deref(), error_type);
        assert_eq!(book.total(ACTIVE).0, 0.0);
    }
}

#[test]
fn strangers_cannot_add_methods_without_end() {
    let (tracing, _spans) = TracingService::in_memory();
    let book = Book::default();
    // Answers with the status that is the service's part of the path.
    let service = service_fn(async |request: Request<()>| {
        let status = request.uri().path().split('/').nth(1).unwrap_or_default();
        let response = Response::builder().header("grpc-status", status).body(TestBody::default());
        Ok::<_, Infallible>(response.unwrap())
    });
    let service = TraceLayer::server(&tracing).metrics(&book).layer(service);
    let call = |path: String| {
        let request = Request::post(path).header("content-type", "application/grpc");
        let request = request.body(()).unwrap();
        service.clone().oneshot(request).now_or_never().unwrap().unwrap();
    };
    let named = |status: &str| {
        let lines = book.lines();
        let of_status = |line: &&String| {
            line.contains(&format!("status_code={status} ")) && !line.contains("_OTHER")
        };
        lines.iter().filter(of_status).count()
    };

    (0..3000).for_each(|i| call(format!("/12/{i}")));
    assert_eq!(named("UNIMPLEMENTED"), 0, "made up");
    assert_eq!(book.total(&format!("{RPC} error.type=UNIMPLEMENTED rpc.method=_OTHER")).1, 3000);

    (0..3000).for_each(|i| call(format!("/16/{i}")));
    assert_eq!(named("UNAUTHENTICATED"), 100, "refused by whoever did not look at the method");
    assert_eq!(book.total(&format!("{RPC} rpc.method=_OTHER")).1, 2900);

    (0..3000).for_each(|i| call(format!("/0/{i}")));
    assert_eq!(named("OK"), 1000, "methods have room of their own, but not endless");
    (0..1000).for_each(|i| call(format!("/0/{i}")));
    assert_eq!(book.total(&format!("{RPC} rpc.method=0/42 ")).1, 2, "and keep it");

    call(format!("/0/{}", "x".repeat(300)));
    call("/".to_owned());
    assert_eq!(named("OK"), 1000, "no names at all");
    assert_eq!(book.total(RPC).1, 10_002, "whatever the name, each call is recorded");
}
