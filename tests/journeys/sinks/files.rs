//! Files of OTLP/JSON lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use tempfile::TempDir;

use super::delivery::{assert_is_order, order_service, serve_order, spans_of};
use super::logs::Log;
use super::{
    Ids, LONG, SHORT, ids, pending, serve, serve_large, settled, shut_down, tracing_to,
    wait_for_line,
};

#[test]
fn a_process_without_spans_leaves_nothing_behind() {
    let (root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    assert_eq!(tracing.flush_blocking(LONG), settled(0, 0));
    assert!(!directory.exists(), "before the first span");
    assert_eq!(tracing.shutdown_blocking(LONG), settled(0, 0));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "after the shutdown");
}

#[test]
fn nobody_else_can_read_what_is_written() {
    let (root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    serve(&tracing, 1);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));
    for made in directory.ancestors().take_while(|made| *made != root.path()) {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    for file in files(&directory) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_directory_that_is_there_stays_as_it_is() {
    let root = TempDir::new().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let other = root.path().join("1-00000000.trace");
    fs::write(&other, "somebody else's\n").unwrap();
    let tracing = tracing_to(&url(root.path()));
    serve(&tracing, 1);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));
    assert_eq!(mode(root.path()), 0o755);
    assert_eq!(fs::read_to_string(&other).unwrap(), "somebody else's\n");
    assert_eq!(files(root.path()).len(), 2);
}

#[test]
fn files_are_named_by_their_time_and_by_chance() {
    let (_root, directory) = directory();
    for _ in 0..3 {
        let tracing = tracing_to(&url(&directory));
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));
    }
    let files = files(&directory);
    assert_eq!(files.len(), 3, "one for each run");
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (nanos, random) = name.strip_suffix(".trace").unwrap().split_once('-').unwrap();
        // 1.7e18 was in 2023.
        assert!(nanos.parse::<u64>().unwrap() > 1_700_000_000_000_000_000, "{name}");
        let is_hex = random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(random.len() == 8 && is_hex, "{name}");
    }
}

#[test]
fn what_is_in_a_file_is_what_was_recorded() {
    let (_root, directory) = directory();
    let tracing = order_service(&url(&directory));
    let served = serve_order(&tracing);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0));
    let [file] = &files(&directory)[..] else { panic!("one file") };
    let [line] = &lines(file)[..] else { panic!("one line") };
    assert_is_order(&line.resource_spans, &served);
}

#[test]
fn many_spans_fill_several_lines_and_all_are_there() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    let served = serve(&tracing, 2000);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(2000, 0));
    let [file] = &files(&directory)[..] else { panic!("one file") };
    let counts = lines(file).into_iter().map(|line| spans_of(&line.resource_spans).count());
    let counts: Vec<_> = counts.collect();
    assert!(counts.iter().all(|&spans| spans <= 512), "{counts:?}");
    assert_eq!(ids_in(&directory), ids(&served));
    assert_eq!(spans_in(&directory).len(), 2000, "none twice");
}

#[test]
fn a_line_that_would_pass_the_limit_begins_the_next_file() {
    let (_root, directory) = directory();
    let limit = 6000;
    let tracing = tracing_to(&format!("{}?limit={limit}", url(&directory)));
    let mut served = Vec::new();
    for _ in 0..20 {
        served.extend(serve(&tracing, 1));
        let _ = tracing.flush_blocking(LONG);
    }
    assert_eq!(tracing.shutdown_blocking(LONG), settled(20, 0));

    let files = files(&directory);
    assert!(files.len() > 2, "{} files", files.len());
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(texts.iter().all(|text| text.len() <= limit), "no file passes the limit");
    assert!(texts[0].lines().count() > 1, "a file holds as many lines as it may");
    for (text, next) in texts.iter().zip(&texts[1..]) {
        let first_line = next.lines().next().unwrap().len() + 1;
        assert!(text.len() + first_line > limit, "no file is left before it is full");
    }
    let in_order: Vec<_> = spans_in(&directory).into_iter().map(|span| span.span_id).collect();
    let as_served: Vec<_> = served.iter().map(|span| span.span_id().to_bytes().to_vec()).collect();
    assert_eq!(in_order, as_served, "names sort as the files were begun");
}

#[test]
fn a_file_that_was_taken_away_is_not_written_to() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    serve(&tracing, 1);
    assert_eq!(tracing.flush_blocking(LONG), settled(1, 0));
    let [first] = &files(&directory)[..] else { panic!("one file") };
    fs::remove_file(first).unwrap();

    serve(&tracing, 1);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(2, 0));
    assert_eq!(files(&directory).len(), 1, "the second span is to be found");
}

#[cfg(unix)]
#[test]
fn what_was_put_in_place_of_a_file_is_not_written_to() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    serve(&tracing, 1);
    assert_eq!(tracing.flush_blocking(LONG), settled(1, 0));
    let [first] = &files(&directory)[..] else { panic!("one file") };
    let elsewhere = directory.with_file_name("elsewhere");
    fs::write(&elsewhere, "another's").unwrap();
    fs::rename(first, directory.with_file_name("moved")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, first).unwrap();

    serve(&tracing, 1);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(2, 0));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "another's");
    let moved = fs::read_to_string(directory.with_file_name("moved")).unwrap();
    assert_eq!(moved.lines().count(), 1, "and neither is the moved file");
    assert_eq!(files(&directory).len(), 2, "the link, and a file of our own");
}

#[test]
fn a_file_that_was_cut_is_written_to_from_where_it_ends() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&url(&directory));
    serve(&tracing, 1);
    assert_eq!(tracing.flush_blocking(LONG), settled(1, 0));
    let [file] = &files(&directory)[..] else { panic!("one file") };
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();

    serve(&tracing, 1);
    assert_eq!(tracing.shutdown_blocking(LONG), settled(2, 0));
    let text = fs::read_to_string(file).unwrap();
    assert!(text.starts_with('{') && text.lines().count() == 1, "{text}");
}

#[test]
fn a_line_above_the_limit_has_a_file_of_its_own() {
    let (_root, directory) = directory();
    let tracing = tracing_to(&format!("{}?limit=3000", url(&directory)));
    for size in [0, 5000, 0, 0, 5000, 5000] {
        serve_large(&tracing, size);
        let _ = tracing.flush_blocking(LONG);
    }
    assert_eq!(tracing.shutdown_blocking(LONG), settled(6, 0));
    let files = files(&directory);
    let lines: Vec<_> = files.iter().map(|file| lines(file).len()).collect();
    assert_eq!(lines, [1, 1, 2, 1, 1]);
    let is_above = |file: &PathBuf| fs::metadata(file).unwrap().len() > 3000;
    let above: Vec<_> = files.iter().map(is_above).collect();
    assert_eq!(above, [false, true, false, true, true]);
}

#[test]
fn the_path_of_the_url_is_percent_decoded() {
    let root = TempDir::new().unwrap();
    let rows = [
        ("with%20space", "with space", "a space"),
        ("caf%C3%A9", "café", "beyond ASCII"),
        ("100%25", "100%", "a percent sign"),
        ("a%3Flimit=1", "a?limit=1", "a question mark that begins no options"),
        ("a%23b", "a#b", "a number sign"),
        ("a%2Fb", "a/b", "an escaped slash is a slash: a file system knows no other"),
        ("a+b", "a+b", "a plus is a plus"),
        ("new%0Aline", "new\nline", "a line break"),
    ];
    for (written, meant, why) in rows {
        let tracing = tracing_to(&format!("{}/{written}?limit=100000", url(root.path())));
        serve(&tracing, 1);
        assert_eq!(tracing.shutdown_blocking(LONG), settled(1, 0), "{why}");
        assert_eq!(files(&root.path().join(meant)).len(), 1, "{why}");
    }
}

#[test]
fn many_services_can_write_to_one_directory() {
    let (_root, directory) = directory();
    let url = format!("{}?limit=20000", url(&directory));
    let run = || {
        let tracing = tracing_to(&url);
        let mut served = Vec::new();
        for _ in 0..20 {
            served.extend(serve(&tracing, 10));
            let _ = tracing.flush_blocking(LONG);
        }
        assert_eq!(tracing.shutdown_blocking(LONG), settled(200, 0));
        served
    };
    let served: Vec<_> = thread::scope(|scope| {
        let services: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        services.into_iter().flat_map(|service| service.join().unwrap()).collect()
    });
    assert_eq!(ids_in(&directory), ids(&served));
    assert_eq!(spans_in(&directory).len(), 1600, "none twice");
}

#[test]
fn a_directory_that_cannot_be_is_a_failure_until_it_can() {
    type Row = (fn(&Path), &'static str);
    let rows: [Row; 3] = [
        (|place| fs::write(place, "").unwrap(), "a file where the directory should be"),
        (|place| fs::write(place.parent().unwrap(), "").unwrap(), "a file where its parent is"),
        (
            |place| std::os::unix::fs::symlink("/nowhere/at/all", place).unwrap(),
            "a link that leads nowhere",
        ),
    ];
    for (obstruct, why) in rows {
        let root = TempDir::new().unwrap();
        let parent = root.path().join("parent");
        let directory = parent.join("traces");
        if why != "a file where its parent is" {
            fs::create_dir(&parent).unwrap();
        }
        obstruct(&directory);
        let log = Log::about(&url(&directory));
        let tracing = tracing_to(&url(&directory));
        let mut served = serve(&tracing, 3);
        assert_eq!(tracing.flush_blocking(SHORT), pending(3), "{why}");
        let cause = format!("cannot create a file in {}", directory.display());
        let [line] = &wait_for_line(&log, &cause)[..] else { panic!("{why}: {:?}", log.lines()) };
        assert!(line.contains("; trying again"), "{why}: {line}");

        let obstacle = if parent.is_dir() { &directory } else { &parent };
        fs::remove_file(obstacle).unwrap();
        served.extend(serve(&tracing, 2));
        assert_eq!(tracing.shutdown_blocking(LONG), settled(5, 0), "{why}");
        assert_eq!(ids_in(&directory), ids(&served), "{why}");
        assert_eq!(spans_in(&directory).len(), 5, "{why}: none twice");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_system_that_takes_no_files_is_a_failure() {
    // Not even root can make a directory there.
    let tracing = tracing_to("file:///proc/tower-otlp/traces");
    serve(&tracing, 3);
    assert_eq!(tracing.shutdown_blocking(LONG), shut_down(3));
}

/// A directory to be made, two levels deep in a temporary one.
pub(super) fn directory() -> (TempDir, PathBuf) {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("logs").join("traces");
    (root, directory)
}

pub(super) fn url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

/// The files, the oldest first.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The lines of a file, all of which must be whole.
pub(super) fn lines(file: &Path) -> Vec<TracesData> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n'), "{} ends in the middle of a line", file.display());
    text.lines().map(|line| serde_json::from_str(line).expect("OTLP/JSON")).collect()
}

pub(super) fn spans_in(directory: &Path) -> Vec<Span> {
    let lines = files(directory).into_iter().flat_map(|file| lines(&file));
    lines.flat_map(|line| spans_of(&line.resource_spans).cloned().collect::<Vec<_>>()).collect()
}

pub(super) fn ids_in(directory: &Path) -> Ids {
    spans_in(directory).into_iter().map(|span| (span.trace_id, span.span_id)).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
