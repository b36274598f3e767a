//! Why there is no TLS, in the operator's words.

use std::io;
use std::iter::successors;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::{Session, Tls};
use crate::sink::answer::quote;
use crate::sink::exchange::Version;
use crate::sink::proxy::{REFUSED_CERTIFICATE, WANTS_CERTIFICATE};

/// What rustls says, if this error is from it.
pub(super) fn tls_error(error: &io::Error) -> Option<&Error> {
    let inner = error.get_ref()?;
    successors(Some(inner as &(dyn std::error::Error + 'static)), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}

impl Session {
    pub(super) fn explain_handshake(&self, error: &io::Error) -> String {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if let Some(error) = tls_error(error) {
            return self.explain_tls(error);
        }
        if matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) {
            return format!(
                "the connection was closed during the TLS handshake: {}",
                self.tls.perhaps_plaintext(),
            );
        }
        format!("the TLS handshake failed: {error}")
    }

    pub(super) fn explain_tls(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => self.tls.explain_certificate(error),
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::InvalidMessage(_) => {
                format!("what the port answers is not TLS: {}", self.tls.perhaps_plaintext())
            }
            Error::NoApplicationProtocol => self.tls.no_common_protocol(),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => OLD_TLS.to_owned(),
            _ => format!("TLS: {error}"),
        }
    }

    /// What the collector sent instead of going on.
    fn explain_alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        let (asked, shown) = (self.identities.was_asked(), !self.identities.is_empty());
        let reason = match alert {
            A::CertificateRequired | A::NoCertificate => return WANTS_CERTIFICATE.to_owned(),
            A::NoApplicationProtocol => return self.tls.no_common_protocol(),
            A::ProtocolVersion => return OLD_TLS.to_owned(),
            A::UnrecognisedName => {
                let name = self.tls.name.to_str();
                return format!("the collector does not know the name \"{name}\": set server_name");
            }
            A::UnknownCA => "it does not know the authority that has signed it",
            A::CertificateExpired => "it has expired",
            A::CertificateRevoked => "it is revoked",
            A::BadCertificate | A::CertificateUnknown | A::UnsupportedCertificate => {
                "it does not accept it"
            }
            A::AccessDenied => "it gives it no access",
            A::DecryptError => "its signature is wrong",
            // Older servers do not say what they miss.
            A::HandshakeFailure => "it says no more",
            _ => return format!("the collector refused TLS: {alert:?}"),
        };
        // What is said of one that was not shown is that it is missing, or of something else.
        let may_miss_it = matches!(
            alert,
            A::HandshakeFailure
                | A::BadCertificate
                | A::CertificateUnknown
                | A::UnsupportedCertificate
                | A::AccessDenied
        );
        if asked && shown {
            format!("{REFUSED_CERTIFICATE}: {reason} ({alert:?})")
        } else if asked && may_miss_it {
            WANTS_CERTIFICATE.to_owned()
        } else {
            format!("the collector refused TLS: {alert:?}")
        }
    }
}

impl Tls {
    pub(super) fn no_common_protocol(&self) -> String {
        match self.version {
            #[cfg(feature = "http")]
            Version::Http1 => {
                "the port does not speak HTTP/1.1: is it an OTLP/HTTP port? OTLP/gRPC is grpcs://"
            }
            #[cfg(feature = "grpc")]
            Version::Http2 => {
                "the port does not agree to HTTP/2 (ALPN h2): is it an OTLP/gRPC port? OTLP/HTTP \
                 is https://"
            }
        }
        .to_owned()
    }

    fn perhaps_plaintext(&self) -> &'static str {
        match self.version {
            #[cfg(feature = "http")]
            Version::Http1 => "if it is a plaintext port, write http:// without certificates",
            #[cfg(feature = "grpc")]
            Version::Http2 => "if it is a plaintext port, write grpc:// without certificates",
        }
    }

    /// What is wrong with the collector's certificate.
    fn explain_certificate(&self, error: &CertificateError) -> String {
        use CertificateError as E;
        let names_authorities = !self.options.ca_certs.is_empty();
        let what = match error {
            E::UnknownIssuer if names_authorities => {
                "is not signed by an authority in ca_certs".to_owned()
            }
            E::UnknownIssuer => "is not signed by an authority that this system knows: name its \
                                 authority in ca_certs"
                .to_owned(),
            E::BadSignature => "is signed with another key than that of the authority of this \
                                name: is ca_certs out of date?"
                .to_owned(),
            E::ExpiredContext { not_after, .. } => format!("has expired on {}", date(*not_after)),
            E::Expired => "has expired".to_owned(),
            E::NotValidYetContext { not_before, .. } => {
                format!("is not valid before {}: is the clock right?", date(*not_before))
            }
            E::NotValidYet => "is not valid yet: is the clock right?".to_owned(),
            E::NotValidForNameContext { expected, presented } => {
                let presented: Vec<_> =
                    presented.iter().take(MOST_NAMES).map(|name| shown(name)).collect();
                let presented = presented.join(", ");
                format!(
                    "is not for the name \"{}\" but for [{presented}]: set server_name, if it is \
                     the right one",
                    expected.to_str(),
                )
            }
            E::NotValidForName => {
                format!("is not for the name \"{}\": set server_name", self.name.to_str())
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                "is not one for servers (extended key usage)".to_owned()
            }
            E::Revoked => "is revoked".to_owned(),
            E::BadEncoding => "is malformed".to_owned(),
            // Of the library that verifies, whose errors have only their names.
            E::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "is one of an authority, not of a server".to_owned()
            }
            _ => format!("is not accepted: {error}"),
        };
        format!("the collector's certificate {what}")
    }
}

/// A name that the collector's certificate claims, without its kind: the library says
/// `DnsName("a")` and `IpAddress(127.0.0.1)`.
fn shown(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    quote(inner.unwrap_or(name).trim_matches('"'))
}

/// The day in UTC, in the Gregorian calendar.
fn date(time: UnixTime) -> String {
    // Years begin in March here, so that a leap day is the last of one.
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// Names of a certificate that are told. Some have hundreds.
const MOST_NAMES: usize = 10;
const OLD_TLS: &str = "the collector speaks neither TLS 1.2 nor TLS 1.3";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let rows = [
            (0, "1970-01-01", "the epoch"),
            (951_782_399, "2000-02-28", "its last second"),
            (951_782_400, "2000-02-29", "400 years have one more leap day than 100"),
            (951_868_800, "2000-03-01", "the day after"),
            (4_107_542_399, "2100-02-28", "100 years have one less than 4"),
            (4_107_542_400, "2100-03-01", "the day after"),
            (1_735_689_599, "2024-12-31", "the last of a leap year"),
        ];
        for (seconds, expected, why) in rows {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            assert_eq!(date(time), expected, "{why}");
        }
    }

    #[test]
    fn a_name_is_told_without_its_kind_and_on_one_line() {
        let rows = [
            ("DnsName(\"a.example\")", "a.example", "a name"),
            ("IpAddress(::1)", "::1", "an address"),
            ("a\nb", "a b", "anything else"),
        ];
        for (name, expected, why) in rows {
            assert_eq!(shown(name), expected, "{why}");
        }
    }
}
