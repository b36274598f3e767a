//! Four threads serve requests while the network and the collector do their worst; then all is
//! well again, and every span is looked for.
//!
//! What happens is drawn from a seed. A test that fails names it:
//!
//! ```text
//! STORM_SEED=123 cargo test --all-features --test journeys storm      # that one, again
//! STORM_SEEDS=10000 cargo test --all-features --test journeys storm   # so many from 0 on
//! ```
//!
//! A seed is a plan: faults, answers, pauses and numbers of spans. How the threads run is the
//! machine's choice, so one that fails rarely may have to be tried a few times.
//!
//! # How the numbers can be exact
//!
//! The [collector](collector::Collector) writes down each request that came in whole, what it
//! answered, and at which byte of the connection that answer ends. The
//! [proxy](crate::support::fault_proxy) counts the bytes that it sent the client. So an answer got
//! through or it did not. Bytes that were sent can still be lost by a reset, or unread before
//! garbage: before either, the proxy sends nothing more, and the storm waits until the client has
//! counted every answer that it was sent. That it does is a test of its own.

mod collector;
mod hiccups;
mod judge;
mod plan;
mod tls;
mod wire;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tower_otlp::{QueueConfig, RetryConfig, TracingService, TracingServiceConfig};

use self::collector::Collector;
use self::judge::{Judge, Patience};
use self::plan::{Ending, LONG, Plan, Step, Transport};
use crate::sinks::logs::Log;
use crate::sinks::serve_large;
use crate::support::fault_proxy::{Arrivals, Direction, End, Fault, FaultProxy};

#[test]
fn a_storm_of_faults_loses_no_span_without_a_count_over_grpc() {
    run_seeds(Transport::Grpc);
}

#[test]
fn a_storm_of_faults_loses_no_span_without_a_count_over_http() {
    run_seeds(Transport::Http);
}

#[test]
fn a_storm_of_faults_loses_no_span_without_a_count_over_grpc_with_tls() {
    run_seeds(Transport::Grpcs);
}

#[test]
fn a_storm_of_faults_loses_no_span_without_a_count_over_http_with_tls() {
    run_seeds(Transport::Https);
}

/// The seeds of one transport, some side by side: most of the time of each is waiting.
#[expect(clippy::print_stderr, reason = "whoever has to find the failure needs the seed")]
fn run_seeds(transport: Transport) {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match number("STORM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORM_SEEDS").unwrap_or(SEEDS).div_ceil(Transport::ALL.len() as u64),
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    let began = Instant::now();
    let total = Mutex::new(judge::Tally::default());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| weather(seed, transport))) {
                        Ok(tally) => *total.lock().unwrap() += tally,
                        Err(panic) => {
                            eprintln!(
                                "failed: STORM_SEED={seed} over {transport:?}: {:#?}",
                                Plan::of(seed, transport),
                            );
                            *failed.lock().unwrap() = Some(panic);
                        }
                    }
                }
            });
        }
    });
    let total = *total.lock().unwrap();
    eprintln!("{transport:?}: {total:?} in {:.1} s", began.elapsed().as_secs_f64());
    if let Some(panic) = failed.into_inner().unwrap() {
        resume_unwind(panic);
    }
    if number("STORM_SEED").is_none() {
        total.assert_stormy();
    }
}

/// One seed.
fn weather(seed: u64, transport: Transport) -> judge::Tally {
    let plan = Plan::of(seed, transport);
    let collector = Collector::start(transport, plan.taste, seed);
    let proxy = FaultProxy::start(collector.address());
    collector.behind(proxy.links());
    let url = transport.url(proxy.address());
    let log = Log::about(&url);
    let mut config = TracingServiceConfig::new(url.parse().unwrap());
    if transport.is_tls() {
        config = config.ca_certs([tls::authority()]);
    }
    let mut queue = QueueConfig::default().max_bytes(QUEUE).when_full(plan.client.when_full);
    if plan.client.small_batches {
        queue = queue.max_batch_bytes(BATCH);
    }
    let tracing = config
        .sampling_rate_per_million(1_000_000)
        .timeout(plan.client.timeout)
        .compression(plan.client.compression)
        .queue(queue)
        .retry(
            RetryConfig::default()
                .initial(Duration::from_millis(2))
                .max(Duration::from_millis(20))
                .give_up_after(plan.client.give_up_after),
        )
        .start("storm")
        .unwrap();
    let patience = Patience { timeout: plan.client.timeout, since: Instant::now() };
    let judge = Judge::new(&collector, &proxy, &tracing, &log, patience);

    let mut produced = thread::scope(|scope| {
        let producers = plan.bursts.each_ref().map(|bursts| {
            let (tracing, filling) = (&tracing, plan.client.filling);
            scope.spawn(move || produce(tracing, bursts, filling))
        });
        for step in &plan.steps {
            play(step, &collector, &proxy, &judge);
        }
        producers.map(|producer| producer.join().unwrap()).concat()
    });

    produced.extend((0..plan.oversized).map(|_| serve_span(&tracing, BATCH)));
    if plan.ending == Ending::Healed {
        collector.heal();
        proxy.heal();
        let flushed = tracing.flush_blocking(LONG);
        assert_eq!(flushed.pending, 0, "something never ends: {flushed}");
    }
    let _pause = judge.settle(plan.oversized);
    let stats = tracing.shutdown_blocking(Duration::ZERO);
    judge::pronounce(&plan, patience, &collector.attempts(), &produced, stats)
}

/// Serves requests in bursts, and asks for their export without waiting for it.
fn produce(tracing: &TracingService, bursts: &[plan::Burst], filling: usize) -> Vec<u64> {
    let mut produced = Vec::new();
    for burst in bursts {
        for _ in 1..burst.spans {
            produced.push(serve_span(tracing, filling));
        }
        produced.push(serve_span(tracing, filling.max(burst.giant)));
        let _ = tracing.flush_blocking(Duration::ZERO);
        thread::sleep(burst.then);
    }
    produced
}

/// Serves a request whose span is above this size, and returns the id of it.
fn serve_span(tracing: &TracingService, size: usize) -> u64 {
    u64::from_be_bytes(serve_large(tracing, size).span_id().to_bytes())
}

fn play(step: &Step, collector: &Collector, proxy: &FaultProxy, judge: &Judge<'_>) {
    collector.play(step.mix);
    let reset_after = |lasts: Duration| {
        thread::sleep(lasts);
        let pause = judge.settle(0);
        proxy.end_all(End::Reset);
        proxy.heal();
        drop(pause);
    };
    match step.fault {
        plan::Fault::Calm => thread::sleep(step.lasts),
        plan::Fault::Slow(direction, fault) => {
            proxy.set(direction, fault);
            thread::sleep(step.lasts);
            proxy.set(direction, Fault::None);
        }
        plan::Fault::Close(direction, after) => {
            proxy.set(direction, Fault::Cut { after, by: End::Close });
            thread::sleep(step.lasts);
            proxy.set(direction, Fault::None);
        }
        plan::Fault::Reset(direction, after) => {
            proxy.set(direction, Fault::Stall { after });
            reset_after(step.lasts);
        }
        plan::Fault::Garbage(after) => {
            proxy.set(Direction::Answers, Fault::Stall { after });
            thread::sleep(step.lasts);
            let pause = judge.settle(0);
            proxy.set(Direction::Answers, Fault::Garbage { after: 0 });
            drop(pause);
            thread::sleep(step.lasts);
            // Whoever waits for sense on such a connection waits in vain.
            reset_after(Duration::ZERO);
        }
        plan::Fault::NoAnswer => {
            proxy.set(Direction::Answers, Fault::Stall { after: 0 });
            reset_after(step.lasts);
        }
        plan::Fault::BlackHole => {
            proxy.set(Direction::Requests, Fault::Stall { after: 0 });
            proxy.set(Direction::Answers, Fault::Stall { after: 0 });
            thread::sleep(step.lasts);
            proxy.heal();
        }
        plan::Fault::HalfOpen => {
            proxy.receive(Arrivals::Hold);
            proxy.end_all(End::Close);
            reset_after(step.lasts);
        }
        plan::Fault::Refuse => {
            proxy.receive(Arrivals::Refuse);
            proxy.end_all(End::Close);
            thread::sleep(step.lasts);
            proxy.heal();
        }
        plan::Fault::NoHandshake(after) => {
            proxy.end_all(End::Close);
            proxy.set(Direction::Requests, Fault::Stall { after });
            reset_after(step.lasts);
        }
    }
    // What the collector keeps waiting is cut, and not answered after all.
    collector.give_up();
}

/// Seeds of all transports together.
const SEEDS: u64 = 200;
const SIDE_BY_SIDE: usize = 8;
/// The least that there may be, of this and the next.
const QUEUE: usize = 1 << 20;
const BATCH: usize = 64 << 10;
