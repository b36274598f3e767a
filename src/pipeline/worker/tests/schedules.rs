//! Whatever happens in whatever order, each span ends in one counter, and is delivered once.

use proptest::prelude::*;
use tokio::runtime;

use super::bench::{Bench, drive_with};
use super::*;
use crate::pipeline::buffer::Refused;
use crate::pipeline::options::{PipelineOptions, RetryPolicy, WhenFull};
use crate::pipeline::receipt::Settled;

#[derive(Clone, Debug)]
enum Act {
    End(usize),
    EndAnother(usize),
    EndLarge(usize),
    Forward(usize, usize),
    Pass(u64),
    Answer(Kind),
    Flush(u64),
}

/// What an export is answered.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Delivered,
    Rejected(u64),
    Refused,
    Asked(u64),
    TooLarge,
    Failed,
    Panic,
}

impl Kind {
    fn answer(self) -> Answer {
        match self {
            Self::Delivered => Answer::DELIVERED,
            Self::Rejected(spans) => Answer::rejected(spans),
            Self::Refused => Answer::refused(),
            Self::Asked(seconds) => Answer::asked(Duration::from_secs(seconds)),
            Self::TooLarge => Answer::too_large(),
            Self::Failed => Answer::failed(),
            Self::Panic => Answer::Panic,
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Delivered),
        1 => (0..5_u64).prop_map(Kind::Rejected),
        4 => Just(Kind::Refused),
        2 => (0..20_u64).prop_map(Kind::Asked),
        2 => Just(Kind::TooLarge),
        1 => Just(Kind::Failed),
        1 => Just(Kind::Panic),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..200_usize).prop_map(Act::End),
        1 => (0..40_usize).prop_map(Act::EndAnother),
        2 => (0..4_usize).prop_map(Act::EndLarge),
        2 => (0..2_usize, 0..40_usize).prop_map(|(sender, spans)| Act::Forward(sender, spans)),
        3 => (0..4000_u64).prop_map(Act::Pass),
        8 => kind().prop_map(Act::Answer),
        1 => (0..3000_u64).prop_map(Act::Flush),
    ]
}

fn options() -> impl Strategy<Value = PipelineOptions> {
    (any::<bool>(), 0..20_u64, 0..3000_u64).prop_map(|(oldest, give_up_after, initial)| {
        PipelineOptions {
            max_bytes: BUDGET,
            when_full: if oldest { WhenFull::DropOldest } else { WhenFull::DropNewest },
            retry: RetryPolicy {
                initial: Duration::from_millis(initial),
                max: Duration::from_secs(10),
                give_up_after: Duration::from_secs(give_up_after),
            },
            ..PipelineOptions::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_span_ends_in_one_counter_and_is_delivered_once(
        options in options(),
        concurrency in 1..4_usize,
        acts in proptest::collection::vec(act(), 0..60),
        last in proptest::collection::vec(kind(), 1..20),
    ) {
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(drive_with(options, concurrency, None, async |mut bench| {
            let mut ended = 0;
            let mut receipts = Vec::new();
            for act in acts {
                match act {
                    Act::End(spans) => {
                        bench.end_spans(spans);
                        ended += spans as u64;
                    }
                    Act::EndAnother(spans) => {
                        bench.end_spans_of_another(spans);
                        ended += spans as u64;
                    }
                    Act::EndLarge(spans) => {
                        bench.end_requests(spans);
                        ended += spans as u64;
                    }
                    Act::Forward(sender, spans) => match bench.forward(sender, spans) {
                        Ok(receipt) => {
                            receipts.push((spans as u64, receipt));
                            ended += spans as u64;
                        }
                        Err(refused) => assert_eq!(refused, Refused::Full),
                    },
                    Act::Pass(millis) => bench.pass(Duration::from_millis(millis)).await,
                    Act::Answer(_) if bench.is_idle() => {}
                    Act::Answer(kind) => bench.export().await.answer(kind.answer()),
                    Act::Flush(millis) => drop(bench.flush(Duration::from_millis(millis)).await),
                }
                assert_counted(&bench, ended);
            }

            let mut kinds = last.into_iter().chain(std::iter::repeat(Kind::Delivered));
            let mut shutdown = bench.start_shutdown(Duration::from_secs(60));
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut shutdown => break told.unwrap(),
                    export = bench.export() => export.answer(kinds.next().unwrap().answer()),
                }
                assert_counted(&bench, ended);
            };
            assert_eq!((told.pending, bench.bytes_used()), (0, 0), "{told}");
            assert_counted(&bench, ended);
            for (spans, receipt) in receipts {
                let told = receipt.await.unwrap().0;
                let Settled { delivered, rejected, refused, lost } = told;
                assert_eq!(delivered + rejected + refused + lost, spans);
            }
        }));
    }
}

fn assert_counted(bench: &Bench, ended: u64) {
    let stats = bench.stats();
    let Stats { accepted, delivered, rejected, dropped, pending, .. } = stats;
    assert_eq!(accepted, delivered + rejected + dropped.total() + pending, "{stats}");
    // The ledger works the pending ones out. These are counted elsewhere.
    assert_eq!(accepted, ended, "{stats}");
    assert!(delivered <= bench.taken(), "{stats}");
    assert!(bench.bytes_used() <= BUDGET, "{stats}");
}

const BUDGET: usize = 60_000;
