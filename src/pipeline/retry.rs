//! When an export is tried again: rules, to which time and chance are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::FOREVER;
use super::options::RetryPolicy;

impl RetryPolicy {
    /// The pause after so many failed attempts: as long as the peer asks for, and then anything up
    /// to a length that doubles with each of them (full jitter), so that those who lost the same
    /// peer do not all come back to it at the same moment. `chance` is from 0 to 1.
    pub(super) fn pause(&self, failed: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
        let longest = self.initial.saturating_mul(doubled).min(self.max).min(FOREVER);
        let pause = asked.unwrap_or_default().saturating_add(longest.mul_f64(chance));
        // A peer may ask for a year: then there is a last attempt when all would be given up.
        pause.min(self.give_up_after).min(FOREVER)
    }

    /// From when on a failure of these attempts is the last.
    pub(super) fn end(&self, attempts: Attempts) -> Instant {
        attempts.first + self.give_up_after.min(FOREVER)
    }
}

/// How often a batch has been tried in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts {
    pub(super) failed: u32,
    pub(super) first: Instant,
}

/// How it is with the peer, as far as exports have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Peer {
    #[default]
    Up,
    /// It is asked by one export at a time, the probe.
    Down {
        /// Probes in a row that have failed, with the export that found it down.
        failed: u32,
        /// No probe begins before.
        until: Instant,
    },
}

impl Peer {
    /// It has answered. What an export says that began while it was up is old news once it is
    /// down: it answers some and not others, and only a probe shows that this is over.
    pub(super) fn answers(&mut self, probe: bool) {
        if probe {
            *self = Self::Up;
        }
    }

    /// It has not, or has asked for later.
    pub(super) fn fails(
        &mut self,
        probe: bool,
        policy: &RetryPolicy,
        asked: Option<Duration>,
        now: Instant,
        chance: f64,
    ) {
        *self = match *self {
            Self::Down { failed, until } if !probe => {
                let asked = now + asked.unwrap_or_default().min(policy.give_up_after).min(FOREVER);
                Self::Down { failed, until: until.max(asked) }
            }
            Self::Down { failed, .. } => {
                let failed = failed.saturating_add(1);
                Self::Down { failed, until: now + policy.pause(failed, asked, chance) }
            }
            Self::Up => Self::Down { failed: 1, until: now + policy.pause(1, asked, chance) },
        }
    }

    pub(super) fn is_up(self) -> bool {
        self == Self::Up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        initial: Duration::from_millis(250),
        max: Duration::from_secs(30),
        give_up_after: Duration::from_secs(300),
    };

    #[test]
    fn retry_with_backoff_doubles_with_full_jitter_and_obeys_the_peer() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let rows = [
            (1, None, 1.0, 250, "after the first failure"),
            (1, None, 0.0, 0, "or at once: full jitter"),
            (1, None, 0.5, 125, "or in between"),
            (2, None, 1.0, 500, "twice that"),
            (3, None, 1.0, 1_000, "and again"),
            (7, None, 1.0, 16_000, "and so on"),
            (8, None, 1.0, 30_000, "up to the longest"),
            (u32::MAX, None, 1.0, 30_000, "for ever"),
            (0, None, 1.0, 250, "no failure is as good as one"),
            (1, seconds(5), 0.0, 5_000, "not before the peer wants it"),
            (2, seconds(5), 1.0, 5_500, "and not all at that moment"),
            (1, seconds(60), 0.0, 60_000, "also beyond the longest"),
            (1, seconds(400), 0.0, 300_000, "but no longer than anything is kept"),
            (1, seconds(u64::MAX), 1.0, 300_000, "without overflow"),
        ];
        for (failed, asked, chance, millis, why) in rows {
            let pause = POLICY.pause(failed, asked, chance);
            assert_eq!(pause, Duration::from_millis(millis), "{why}");
        }
        let endless = RetryPolicy {
            initial: Duration::MAX,
            max: Duration::MAX,
            give_up_after: Duration::MAX,
        };
        assert_eq!(endless.pause(9, seconds(u64::MAX), 1.0), FOREVER);
        let _ = endless.end(Attempts { failed: 1, first: Instant::now() });
    }

    #[test]
    fn a_peer_is_down_until_a_probe_has_an_answer() {
        enum Event {
            Answer { probe: bool },
            Failure { probe: bool, asked: u64 },
        }
        use Event::{Answer, Failure};
        let now = Instant::now();
        // The pauses are the longest.
        let down =
            |failed, millis| Peer::Down { failed, until: now + Duration::from_millis(millis) };
        let rows: [(&[Event], Peer, &str); 9] = [
            (&[Answer { probe: false }], Peer::Up, "all is well"),
            (&[Failure { probe: false, asked: 0 }], down(1, 250), "one failure"),
            (
                &[Failure { probe: false, asked: 0 }, Failure { probe: false, asked: 0 }],
                down(1, 250),
                "those that were under way with it tell nothing new",
            ),
            (
                &[Failure { probe: false, asked: 0 }, Failure { probe: false, asked: 7 }],
                down(1, 7_000),
                "but for what they are asked",
            ),
            (
                &[Failure { probe: false, asked: 9 }, Failure { probe: false, asked: 7 }],
                down(1, 9_250),
                "if it is more",
            ),
            (
                &[Failure { probe: false, asked: 0 }, Answer { probe: false }],
                down(1, 250),
                "and if they have gone well, that was before",
            ),
            (
                &[Failure { probe: false, asked: 0 }, Failure { probe: true, asked: 0 }],
                down(2, 500),
                "a probe in vain",
            ),
            (
                &[Failure { probe: false, asked: 0 }, Failure { probe: true, asked: 3 }],
                down(2, 3_500),
                "that is told when to come back",
            ),
            (
                &[Failure { probe: false, asked: 0 }, Answer { probe: true }],
                Peer::Up,
                "a probe that is answered",
            ),
        ];
        for (events, expected, why) in rows {
            let mut peer = Peer::Up;
            for event in events {
                match *event {
                    Answer { probe } => peer.answers(probe),
                    Failure { probe, asked } => {
                        let asked = (asked > 0).then(|| Duration::from_secs(asked));
                        peer.fails(probe, &POLICY, asked, now, 1.0);
                    }
                }
            }
            assert_eq!(peer, expected, "{why}");
        }
    }
}
