//! From a seed to what happens.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tower_otlp::{Compression, WhenFull};

use crate::support::fault_proxy::{self, Direction};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Transport {
    Grpc,
    Http,
    Grpcs,
    Https,
}

impl Transport {
    pub(super) const ALL: [Self; 4] = [Self::Grpc, Self::Http, Self::Grpcs, Self::Https];

    pub(super) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    pub(super) fn is_tls(self) -> bool {
        matches!(self, Self::Grpcs | Self::Https)
    }

    pub(super) fn url(self, address: SocketAddr) -> String {
        match self {
            Self::Grpc => format!("grpc://{address}"),
            Self::Http => format!("http://{address}"),
            Self::Grpcs => format!("grpcs://{address}"),
            Self::Https => format!("https://{address}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    /// Of each thread.
    pub(super) bursts: [Vec<Burst>; 4],
    pub(super) steps: Vec<Step>,
    pub(super) taste: Taste,
    /// Spans that are larger than a request may be, if there is a limit of the exporter's.
    pub(super) oversized: usize,
    pub(super) ending: Ending,
    pub(super) client: Client,
}

/// How the exporter is set.
#[derive(Debug)]
pub(super) struct Client {
    /// For an answer.
    pub(super) timeout: Duration,
    /// With an export that fails.
    pub(super) give_up_after: Duration,
    pub(super) compression: Compression,
    pub(super) when_full: WhenFull,
    /// Bytes of an attribute of each span: with it, some are too many for the queue.
    pub(super) filling: usize,
    /// Whether requests have as few bytes as they can be told to have.
    pub(super) small_batches: bool,
}

/// Requests that are served one after the other, and the pause after them.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) spans: usize,
    /// Bytes of an attribute of the last one.
    pub(super) giant: usize,
    pub(super) then: Duration,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) fault: Fault,
    pub(super) mix: Mix,
    pub(super) lasts: Duration,
}

/// What the network does.
#[derive(Debug)]
pub(super) enum Fault {
    Calm,
    /// What loses nothing.
    Slow(Direction, fault_proxy::Fault),
    /// Connections close after so many bytes more.
    Close(Direction, u64),
    /// They stall after so many, and are reset.
    Reset(Direction, u64),
    /// Answers stall after so many bytes; then garbage comes.
    Garbage(u64),
    /// Answers stall for longer than the exporter waits for one, and connections are reset.
    NoAnswer,
    /// Nothing moves for a while, and then goes on.
    BlackHole,
    /// Connections are accepted, go nowhere, and are reset.
    HalfOpen,
    Refuse,
    /// New connections stall after a few bytes, before much of a handshake, and are reset.
    NoHandshake(u64),
}

/// What the collector does, in parts of a hundred.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) partial: u32,
    pub(super) refused: u32,
    pub(super) broken: u32,
    pub(super) cut: u32,
    /// Of all answers, those after which the connection is given up.
    pub(super) closes: u32,
}

/// What a collector takes, also when all is well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taste {
    /// Bytes of the largest request.
    pub(super) most: usize,
    pub(super) gzip: bool,
}

impl Mix {
    pub(super) const OK: Self = Self { partial: 0, refused: 0, broken: 0, cut: 0, closes: 0 };
}

/// How a storm ends.
#[derive(Debug, PartialEq)]
pub(super) enum Ending {
    /// All is well, and there is time.
    Healed,
    /// The program ends in the middle of it.
    Abandoned,
}

impl Plan {
    pub(super) fn of(seed: u64, transport: Transport) -> Self {
        let mut random = SmallRng::seed_from_u64(seed * 4 + transport as u64);
        // A handshake takes longer than a whole step would.
        let pace = if transport.is_tls() { 3 } else { 1 };
        let bursts = std::array::from_fn(|_| {
            let bursts = random.random_range(3..=8);
            let burst = |random: &mut SmallRng| Burst {
                spans: random.random_range(1..=12),
                giant: if random.random_bool(0.2) { GIANT } else { 0 },
                then: milliseconds(random, 1, 12) * pace,
            };
            (0..bursts).map(|_| burst(&mut random)).collect()
        });
        let steps = random.random_range(3..=6);
        let mut steps: Vec<_> = (0..steps).map(|_| Step::draw(&mut random, pace)).collect();
        let ending = if random.random_bool(0.85) { Ending::Healed } else { Ending::Abandoned };
        let client = Client::draw(&mut random);
        if client.timeout < LONG {
            let lasts = client.timeout * 3 / 2;
            steps.push(Step { fault: Fault::NoAnswer, mix: Mix::OK, lasts });
        }
        let oversized = if client.small_batches { random.random_range(0..=2) } else { 0 };
        let taste = Taste::draw(&mut random);
        Self { bursts, steps, taste, oversized, ending, client }
    }
}

impl Client {
    fn draw(random: &mut SmallRng) -> Self {
        let few = |random: &mut SmallRng| random.random_bool(0.15);
        Self {
            timeout: if few(random) { Duration::from_secs(2) } else { LONG },
            give_up_after: if random.random_bool(0.3) {
                milliseconds(random, 1, 100)
            } else {
                LONG
            },
            compression: if random.random() { Compression::Gzip } else { Compression::None },
            when_full: if random.random() { WhenFull::DropOldest } else { WhenFull::DropNewest },
            filling: if few(random) { 20_000 } else { 0 },
            small_batches: random.random(),
        }
    }
}

impl Step {
    fn draw(random: &mut SmallRng, pace: u32) -> Self {
        Self {
            fault: Fault::draw(random),
            mix: Mix::draw(random),
            lasts: milliseconds(random, 2, 20) * pace,
        }
    }
}

impl Fault {
    fn draw(random: &mut SmallRng) -> Self {
        use fault_proxy::Fault as Proxy;
        let direction = |random: &mut SmallRng| {
            if random.random() { Direction::Requests } else { Direction::Answers }
        };
        // A request is of some thousand bytes, an answer of a hundred.
        let after = |random: &mut SmallRng, direction| match direction {
            Direction::Requests => random.random_range(0..6_000),
            Direction::Answers => random.random_range(0..250),
        };
        match random.random_range(0..12) {
            0 | 1 => Self::Calm,
            2 => {
                let (least, most) = (milliseconds(random, 0, 2), milliseconds(random, 2, 8));
                Self::Slow(direction(random), Proxy::Delay { least, most })
            }
            3 => {
                Self::Slow(direction(random), Proxy::Rate(random.random_range(200_000..2_000_000)))
            }
            4 => Self::Slow(direction(random), Proxy::LateClose(milliseconds(random, 1, 10))),
            5 => {
                let direction = direction(random);
                Self::Close(direction, after(random, direction))
            }
            6 => {
                let direction = direction(random);
                Self::Reset(direction, after(random, direction))
            }
            7 => Self::Garbage(after(random, Direction::Answers)),
            8 => Self::BlackHole,
            9 => Self::HalfOpen,
            10 => Self::Refuse,
            _ => Self::NoHandshake(random.random_range(0..100)),
        }
    }
}

impl Mix {
    fn draw(random: &mut SmallRng) -> Self {
        if random.random_bool(0.2) {
            return Self::OK;
        }
        let mut part = || random.random_range(0..=20);
        Self { partial: part(), refused: part(), broken: part(), cut: part(), closes: part() }
    }
}

impl Taste {
    fn draw(random: &mut SmallRng) -> Self {
        let most = match random.random_range(0..20) {
            // Not one span.
            0 => 100,
            // A few.
            1..=4 => random.random_range(1_000..8_000),
            // All but the giants.
            5..=8 => random.random_range(10_000..GIANT),
            _ => usize::MAX,
        };
        Self { most, gzip: random.random_bool(0.7) }
    }
}

fn milliseconds(random: &mut SmallRng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.random_range(least..=most))
}

/// Bytes of a span that is larger than most requests.
const GIANT: usize = 30_000;
/// A time that is not expected to pass.
pub(super) const LONG: Duration = Duration::from_secs(60);
