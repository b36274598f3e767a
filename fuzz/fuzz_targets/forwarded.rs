//! A request of somebody else's is refused with a reason, or comes out stamped exactly once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_otlp_fuzz::check_stamped;

fuzz_target!(|request: &[u8]| check_stamped(request));
