//! What is compared: whose layer it is, how it is set up, and what becomes of the requests.

use std::str::FromStr;

/// Whose layer it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Bare,
    Nothing,
    Wrapping,
    Ours(Variation),
    TowerHttp,
    FastraceAxum,
    FastraceTonic,
    InstrumentationTower,
    InstrumentationTowerTraces,
    AxumTracing,
    TonicTracing,
    TowerOtel,
    TowerHttpOpenTelemetry,
    AxumOtel,
}

/// How ours is set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Variation {
    AsItComes,
    /// It says nothing in the response, as most of the others.
    Silent,
    /// Nor is there a `Context` around the handler.
    Lean,
    /// Ids in a header of the response, and not in its extensions.
    Header,
    /// Ids in the extensions of the response, and not in a header.
    Extension,
    /// As it comes, with its metrics.
    Metrics,
}

/// What becomes of the requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Tracing is configured off.
    Off,
    /// None is sampled.
    Unsampled,
    /// All are sampled.
    Sampled,
    /// All are sampled because the caller says so, and none would be otherwise.
    Forced,
}

impl Subject {
    const ALL: [Self; 19] = [
        Self::Bare,
        Self::Nothing,
        Self::Wrapping,
        Self::Ours(Variation::AsItComes),
        Self::Ours(Variation::Silent),
        Self::Ours(Variation::Lean),
        Self::Ours(Variation::Header),
        Self::Ours(Variation::Extension),
        Self::Ours(Variation::Metrics),
        Self::TowerHttp,
        Self::FastraceAxum,
        Self::FastraceTonic,
        Self::InstrumentationTower,
        Self::InstrumentationTowerTraces,
        Self::AxumTracing,
        Self::TonicTracing,
        Self::TowerOtel,
        Self::TowerHttpOpenTelemetry,
        Self::AxumOtel,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Nothing => "a layer that does nothing",
            Self::Wrapping => "a layer that does nothing, body wrapped",
            Self::Ours(variation) => variation.name(),
            Self::TowerHttp => "tower-http `TraceLayer`, no subscriber",
            Self::FastraceAxum => "fastrace-axum",
            Self::FastraceTonic => "fastrace-tonic",
            Self::InstrumentationTower => "opentelemetry-instrumentation-tower, with its metrics",
            Self::InstrumentationTowerTraces => "opentelemetry-instrumentation-tower",
            Self::AxumTracing => "axum-tracing-opentelemetry",
            Self::TonicTracing => "tonic-tracing-opentelemetry",
            Self::TowerOtel => "tower-otel",
            Self::TowerHttpOpenTelemetry => "tower-http-opentelemetry",
            Self::AxumOtel => "axum-otel",
        }
    }

    pub(crate) fn makes_spans(self) -> bool {
        !matches!(self, Self::Bare | Self::Nothing | Self::Wrapping | Self::TowerHttp)
    }
}

impl Variation {
    fn name(self) -> &'static str {
        match self {
            Self::AsItComes => "tower-otlp",
            Self::Silent => "tower-otlp, without ids in the response",
            Self::Lean => "tower-otlp, without ids and without `Context`",
            Self::Header => "tower-otlp, ids only in a header",
            Self::Extension => "tower-otlp, ids only in the extensions",
            Self::Metrics => "tower-otlp, with its metrics",
        }
    }
}

impl Mode {
    pub(crate) fn is_sampled(self) -> bool {
        matches!(self, Self::Sampled | Self::Forced)
    }
}

impl FromStr for Subject {
    type Err = ();

    /// From what `Debug` has written.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|subject| format!("{subject:?}") == text).ok_or(())
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Off, Self::Unsampled, Self::Sampled, Self::Forced];
        all.into_iter().find(|mode| format!("{mode:?}") == text).ok_or(())
    }
}
