//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and its argument.

use super::{Found, Reader};
use crate::config::error::quote;
use crate::sampling::SamplingRate;

/// The rate of the sampler. All of ours obey a caller's decision, so that what is named without
/// `parentbased_` is taken as if it were with it.
pub(super) fn rate(reader: &mut Reader<'_>) -> Option<Found<u32>> {
    let found = reader.one(SAMPLER, |text| {
        let name = text.trim().to_ascii_lowercase();
        let kind = match name.strip_prefix(PARENT_BASED).unwrap_or(&name) {
            "always_on" => Kind::Always,
            "always_off" => Kind::Never,
            "traceidratio" => Kind::Ratio,
            _ => return Err(format!("there is no sampler {} here", quote(text.trim()))),
        };
        Ok((name, kind))
    });
    let Some(Found { value: (name, kind), variable }) = found else {
        if reader.text(ARGUMENT).is_some() {
            reader.ignore(ARGUMENT, format_args!("{SAMPLER} names no sampler that takes it"));
        }
        return None;
    };
    if !name.starts_with(PARENT_BASED) {
        reader.taken_as(variable, &format!("{PARENT_BASED}{name}"), "a caller's decision is kept");
    }
    let rate = match kind {
        Kind::Always => SamplingRate::ALWAYS.per_million(),
        Kind::Never => SamplingRate::NEVER.per_million(),
        Kind::Ratio => return Some(ratio(reader)),
    };
    if reader.text(ARGUMENT).is_some() {
        reader.ignore(ARGUMENT, format_args!("{name} takes none"));
    }
    Some(Found { value: rate, variable })
}

/// By the specification 1.0 when there is none, or none that can be used.
fn ratio(reader: &mut Reader<'_>) -> Found<u32> {
    let all = SamplingRate::ALWAYS.per_million();
    let found = reader.one(ARGUMENT, |text| {
        let ratio = text.trim().parse().ok().filter(|ratio: &f64| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| format!("must be a number from 0 to 1, not {}", quote(text.trim())))
    });
    let Some(Found { value: ratio, variable }) = found else {
        return Found { value: all, variable: SAMPLER };
    };
    let exact = ratio * f64::from(all);
    // From 0 to a million.
    let rate = exact.round() as u32;
    // What binary fractions miss of a decimal one is far less.
    if (exact - exact.round()).abs() > 1e-6 {
        let taken_as = format!("{rate} of a million");
        reader.taken_as(variable, &taken_as, "rates are whole numbers of a million");
    }
    Found { value: rate, variable }
}

enum Kind {
    Always,
    Never,
    Ratio,
}

const PARENT_BASED: &str = "parentbased_";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
