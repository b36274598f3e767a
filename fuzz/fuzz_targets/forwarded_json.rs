//! The same of a request in OTLP/JSON, which is made protobuf first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_otlp::fuzzing::from_json;
use tower_otlp_fuzz::check_stamped;

fuzz_target!(|json: &[u8]| {
    match from_json(json) {
        Ok(request) => {
            assert!(request.len() <= json.len() + json.len() / 4);
            check_stamped(&request);
        }
        Err(reason) => assert!(reason.starts_with("not OTLP/JSON: "), "{reason}"),
    }
});
