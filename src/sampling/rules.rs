//! Rates for some requests that differ from the rate for all.

use std::fmt;

use super::SamplingRate;

/// A sampling rate for the requests that match it, in place of the general one.
///
/// A rule holds for traces that start here; a caller who has decided has decided. Of several rules
/// the first that matches counts. A request matches when it meets every condition that the rule
/// has; a rule without any matches all.
///
/// # Example: no health checks, and every order
///
/// ```
/// use tower_otlp::{SamplingRate, SamplingRule};
///
/// let rules = [
///     SamplingRule::new(SamplingRate::NEVER).path_prefix("/healthz"),
///     SamplingRule::new(SamplingRate::ALWAYS).method("POST").route("/orders/{id}"),
/// ];
/// # let _ = rules;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingRule {
    rate: SamplingRate,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Method(String),
    PathPrefix(String),
    Route(String),
    GrpcService(String),
}

/// What rules ask of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) route: Option<&'a str>,
    pub(crate) is_grpc: bool,
}

impl SamplingRule {
    /// A rule that matches everything.
    #[must_use]
    pub const fn new(rate: SamplingRate) -> Self {
        Self { rate, conditions: Vec::new() }
    }

    /// Only requests of this method, in exactly this case.
    #[must_use]
    pub fn method(self, method: impl Into<String>) -> Self {
        self.when(Condition::Method(method.into()))
    }

    /// Only requests whose path is `prefix`, or goes on after it with another segment: `/admin`
    /// matches `/admin` and `/admin/users`, not `/administrator`. A prefix that ends in `/` matches
    /// what is below it.
    #[must_use]
    pub fn path_prefix(self, prefix: impl Into<String>) -> Self {
        self.when(Condition::PathPrefix(prefix.into()))
    }

    /// Only requests that an axum `Router` matched to this route, as it is written there. A layer
    /// that sees requests before they are routed sees no route.
    #[must_use]
    pub fn route(self, route: impl Into<String>) -> Self {
        self.when(Condition::Route(route.into()))
    }

    /// Only gRPC calls of this service, by its full name: `shop.Inventory`.
    #[must_use]
    pub fn grpc_service(self, service: impl Into<String>) -> Self {
        self.when(Condition::GrpcService(service.into()))
    }

    pub(crate) fn rate(&self) -> SamplingRate {
        self.rate
    }

    /// Each condition by its key in the section.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.conditions.iter().map(Condition::written)
    }

    /// Whether it matches all that `other` does, so that `other` behind it never counts.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let is_met = |mine| other.conditions.iter().any(|theirs| theirs.implies(mine));
        self.conditions.iter().all(is_met)
    }

    pub(super) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(asked))
    }

    fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

impl Condition {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Method(method) => asked.method == method,
            Self::PathPrefix(prefix) => has_prefix(asked.path, prefix),
            Self::Route(route) => asked.route == Some(route),
            Self::GrpcService(service) => asked.is_grpc && grpc_service(asked.path) == service,
        }
    }

    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::PathPrefix(long), Self::PathPrefix(short)) => has_prefix(long, short),
            _ => self == other,
        }
    }

    fn written(&self) -> (&'static str, &str) {
        match self {
            Self::Method(method) => ("method", method),
            Self::PathPrefix(prefix) => ("path_prefix", prefix),
            Self::Route(route) => ("route", route),
            Self::GrpcService(service) => ("grpc_service", service),
        }
    }
}

/// Whether a path is a prefix or below it.
pub(crate) fn has_prefix(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some("") => true,
        Some(rest) => prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// The service of `/package.Service/Method`.
pub(crate) fn grpc_service(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.rsplit_once('/').map_or("", |(service, _)| service)
}

impl fmt::Display for SamplingRule {
    /// The conditions as an operator writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, text) in self.conditions() {
            write!(f, "{key} {text}, ")?;
        }
        write!(f, "rate {:?}", self.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: Asked<'_> =
        Asked { method: "GET", path: "/admin/users", route: Some("/admin/{what}"), is_grpc: false };
    const CALL: Asked<'_> =
        Asked { method: "POST", path: "/shop.Inventory/Count", route: None, is_grpc: true };

    #[test]
    fn a_rule_matches_when_all_its_conditions_hold() {
        let rule = || SamplingRule::new(SamplingRate::ALWAYS);
        let rows = [
            (rule(), GET, true, "no condition"),
            (rule().method("GET"), GET, true, "the method"),
            (rule().method("get"), GET, false, "methods are case-sensitive"),
            (rule().path_prefix("/admin"), GET, true, "a segment"),
            (rule().path_prefix("/admin/users"), GET, true, "the whole path"),
            (rule().path_prefix("/adm"), GET, false, "not a whole segment"),
            (rule().path_prefix("/"), GET, true, "everything is below the root"),
            (rule().path_prefix(""), GET, true, "and has nothing before it"),
            (rule().path_prefix("/admin/users/"), GET, false, "only what is below"),
            (rule().route("/admin/{what}"), GET, true, "the route as written"),
            (rule().route("/admin/users"), GET, false, "the path is not the route"),
            (rule().route("/shop.Inventory/Count"), CALL, false, "there is no route"),
            (rule().grpc_service("shop.Inventory"), CALL, true, "the service"),
            (rule().grpc_service("Inventory"), CALL, false, "its full name"),
            (rule().grpc_service("/admin"), GET, false, "no gRPC"),
            (rule().grpc_service("admin"), GET, false, "no gRPC, though the path looks like it"),
            (rule().method("GET").path_prefix("/admin"), GET, true, "both"),
            (rule().method("POST").path_prefix("/admin"), GET, false, "one of two"),
        ];
        for (rule, asked, expected, why) in rows {
            assert_eq!(rule.matches(&asked), expected, "{rule}: {why}");
        }
    }

    #[test]
    fn a_rule_covers_those_that_ask_for_more() {
        let rule = || SamplingRule::new(SamplingRate::ALWAYS);
        let rows = [
            (rule(), rule().method("GET"), true, "without a condition it covers everything"),
            (rule().method("GET"), rule(), false, "but nothing covers that"),
            (rule().method("GET"), rule().route("/a").method("GET"), true, "one condition more"),
            (rule().method("GET").route("/a"), rule().method("GET"), false, "one fewer"),
            (rule().method("GET"), rule().method("POST"), false, "another method"),
            (rule().path_prefix("/a"), rule().path_prefix("/a/b"), true, "a folder inside"),
            (rule().path_prefix("/a"), rule().path_prefix("/ab"), false, "a folder beside"),
            (rule().path_prefix("/a/b"), rule().path_prefix("/a"), false, "a folder around"),
            (rule().path_prefix("/a"), rule().path_prefix("/a/"), true, "all but itself"),
            (rule().path_prefix("/a/"), rule().path_prefix("/a"), false, "not itself"),
            (rule().path_prefix("/a"), rule().route("/a"), false, "routes are not paths"),
        ];
        for (rule, other, expected, why) in rows {
            assert_eq!(rule.covers(&other), expected, "{rule} and {other}: {why}");
        }
    }

    proptest! {
        #[test]
        fn what_a_covered_rule_matches_its_cover_has_matched(
            [cover, covered] in [conditions(), conditions()],
            path in "(/[ab]?){1,3}",
            is_get: bool,
        ) {
            let method = if is_get { "GET" } else { "POST" };
            let asked = Asked { method, path: &path, route: None, is_grpc: false };
            let [cover, covered] = [cover, covered]
                .map(|conditions| SamplingRule { rate: SamplingRate::ALWAYS, conditions });
            if cover.covers(&covered) && covered.matches(&asked) {
                prop_assert!(cover.matches(&asked), "{cover} and {covered}: {path}");
            }
        }
    }

    fn conditions() -> impl Strategy<Value = Vec<Condition>> {
        let condition = prop_oneof![
            "GET|POST".prop_map(Condition::Method),
            "(/[ab]?){1,2}".prop_map(Condition::PathPrefix),
        ];
        proptest::collection::vec(condition, 0..3)
    }

    #[test]
    fn the_service_of_a_call_is_all_before_its_method() {
        let rows = [
            ("/shop.Inventory/Count", "shop.Inventory", "usual"),
            ("shop.Inventory/Count", "shop.Inventory", "without the slash"),
            ("/a/b/Count", "a/b", "a proxy's prefix is part of it"),
            ("/Count", "", "no service"),
            ("", "", "nothing"),
        ];
        for (path, service, why) in rows {
            assert_eq!(grpc_service(path), service, "{path}: {why}");
        }
    }
}
