//! Tests that need a process of their own.

use std::env;
use std::process::Command;

/// Runs the test of this name in a process of its own, and asserts that it passes there. Says
/// whether this is that process.
pub(crate) fn is_child(test: &str) -> bool {
    if env::var_os(CHILD).is_some() {
        return true;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, "yes")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    let error = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {text}{error}", child.status);
    assert!(text.contains("1 passed"), "{text}{error}");
    false
}

const CHILD: &str = "TOWER_OTLP_TEST_CHILD";
