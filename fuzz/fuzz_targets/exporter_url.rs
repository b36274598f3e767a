//! A text is an exporter URL whose canonical form is equal to it, or it is refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_otlp::ExporterUrl;

fuzz_target!(|text: &str| {
    match text.parse::<ExporterUrl>() {
        Ok(url) => {
            let canonical = url.to_string();
            assert_eq!(canonical.parse(), Ok(url), "{canonical}");
        }
        Err(error) => {
            let reason = error.to_string();
            assert!(!reason.is_empty());
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
    }
});
