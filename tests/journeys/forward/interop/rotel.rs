//! Rotel's exporter: what a collector has taken of others goes through the forwarder, too.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_rotel_exports_arrive_in_its_name() {
    let collector = Collector::start(Script::Ok);
    let tracing = tracing_to(&collector.http_url());
    let forwarder = by_name(&tracing);
    let forwarding = Forwarding::start(&forwarder).await;
    let url = format!("http://{}", forwarding.grpc);
    let mut arguments = to(&url).to_vec();
    arguments.extend(["--otlp-exporter-custom-headers", "who=rotel"]);
    let Some(rotel) = Rotel::start(&arguments) else { return };

    // It is no forwarder: what it is told about the sender comes from the sender.
    let channel = Endpoint::from_shared(format!("http://{}", rotel.grpc)).unwrap().connect_lazy();
    let mut spoofed = request(1, 600);
    spoofed.resource_spans[0].resource.as_mut().unwrap().attributes.push(text(STAMP, "root"));
    export(channel, "nobody asks", spoofed).await.unwrap();

    let (collector, arrived) = tokio::task::spawn_blocking(move || {
        passed_on(&collector, 600);
        let arrived = arrived(&collector);
        (collector, arrived)
    })
    .await
    .unwrap();
    assert_eq!(tracing.shutdown(LONG).await, delivered(600));
    assert_eq!((forwarder.stats().spans, collector.spans().len()), (600, 600));
    let sender = ("tool".to_owned(), "rotel".to_owned());
    assert_eq!(arrived.keys().collect::<Vec<_>>(), [&sender]);
    let mut expected: Vec<_> = (0..600).map(|span| format!("1/{span}")).collect();
    expected.sort_unstable();
    assert_eq!(names(&arrived[&sender]), expected);
}
