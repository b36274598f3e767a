//! A YAML document, whatever is in it, is read or refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_otlp::TracingServiceConfig;

fuzz_target!(|document: &str| {
    match TracingServiceConfig::from_yaml_str(document) {
        // What was taken is the same the next time.
        Ok(config) => assert_eq!(TracingServiceConfig::from_yaml_str(document).unwrap(), config),
        Err(error) => {
            let problems: Vec<_> = error.problems().collect();
            assert!(!problems.is_empty(), "an error without a reason");
            assert!(problems.iter().all(|problem| !problem.message().is_empty()));
            assert_eq!(error.to_string().lines().count(), problems.len(), "{error}");
        }
    }
});
