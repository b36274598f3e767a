use std::sync::Arc;

use super::*;

/// An error with a text and perhaps a source, of a type that nobody knows.
#[derive(Debug)]
struct Wrapped(&'static str, Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_ref().map(|error| &**error as _)
    }
}

type Boxed = Box<dyn Error + Send + Sync>;

fn wrapped(text: &'static str, source: impl Into<Boxed>) -> Boxed {
    Box::new(Wrapped(text, Some(source.into())))
}

fn io(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

#[test]
fn a_description_is_bounded_and_never_fails() {
    struct Fails;
    impl fmt::Display for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("so far")?;
            Err(fmt::Error)
        }
    }
    let long = "é".repeat(5000);
    assert_eq!(Cause::of(&"boom", &[]).text(), "boom", "short");
    assert_eq!(Cause::of(&long, &[]).text(), long[..4096], "cut between characters");
    assert_eq!(Cause::of(&Fails, &[]).text(), "so far", "what was said before it failed");

    let sources = wrapped("é", io::Error::other(long));
    let text = Cause::of(&sources, &[]).text();
    assert_eq!(text.len(), 4096, "all sources together");
    assert!(text.starts_with("é: éé"), "{text}");
}

#[test]
fn a_description_says_all_that_the_sources_say_and_nothing_twice() {
    let refused = || io::Error::other("refused");
    let rows = [
        (wrapped("connect", refused()), "connect: refused", "from source to source"),
        (wrapped("a", wrapped("b", wrapped("c", "d"))), "a: b: c: d", "all of them"),
        (wrapped("connect: refused", refused()), "connect: refused", "said already"),
        (wrapped("", refused()), "refused", "nothing to say"),
        (
            io::Error::other(wrapped("inside", "the cause")).into(),
            "inside: the cause",
            "an I/O error that is another error's box",
        ),
    ];
    for (error, expected, why) in rows {
        assert_eq!(Cause::of(&error, &[]).text(), expected, "{why}");
    }
}

#[test]
fn a_description_has_no_url_in_it_whoever_wrote_it() {
    let cut = format!("x for url (http://h/?{}a)b", "b".repeat(5000));
    let rows = [
        (
            "error sending request for url (http://u:pw@h/?sig=s)",
            "error sending request",
            "reqwest",
        ),
        ("shop: error for url (http://h/?sig=s): gone", "shop: error: gone", "amid the text"),
        ("a for url (http://h/s), b for url (http://h/s)", "a, b", "two"),
        ("shop (error for url (http://h/(s)?sig=s))", "shop (error", "with parentheses"),
        ("x for url (http://h/(a)?sig=s", "x", "not closed"),
        (&*cut, "x", "cut"),
        ("x for url (", "x", "nothing comes"),
        ("what is it for url (and all)?", "what is it all)?", "no URL"),
    ];
    for (text, expected, why) in rows {
        assert_eq!(Cause::of(&text.to_owned(), &[]).text(), expected, "{why}");
        let text = text.to_owned().leak();
        let error = wrapped(text, wrapped(text, "the end"));
        assert_eq!(Cause::of(&error, &[]).text(), format!("{expected}: the end"), "{why}");
    }
}

#[test]
fn a_circle_of_sources_ends() {
    #[derive(Debug)]
    struct Circle;
    impl fmt::Display for Circle {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("circle")
        }
    }
    impl Error for Circle {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }
    let circle: Boxed = Box::new(Circle);
    let cause = Cause::of(&circle, &[]);
    assert_eq!((cause.text().as_str(), cause.failure()), ("circle", None));
}

#[test]
fn the_innermost_source_that_knows_says_what_happened() {
    use io::ErrorKind as Kind;
    let rows: Vec<(Boxed, Option<&str>, &str)> = vec![
        (wrapped("x", io(Kind::ConnectionRefused)), Some("connection_refused"), "nobody listens"),
        (wrapped("x", io(Kind::TimedOut)), Some("timeout"), "of the system"),
        (wrapped("x", io(Kind::ConnectionReset)), Some("connection_reset"), "by the peer"),
        (wrapped("x", io(Kind::BrokenPipe)), Some("connection_closed"), "seen while writing"),
        (wrapped("x", io(Kind::ConnectionAborted)), Some("connection_reset"), "by the system"),
        (wrapped("x", io(Kind::UnexpectedEof)), Some("connection_closed"), "amid a message"),
        (wrapped("x", io(Kind::InvalidData)), None, "what was read may be anything"),
        (wrapped("x", io(Kind::PermissionDenied)), None, "not of the set"),
        (wrapped("dns error", "failed to lookup"), Some("name_resolution_error"), "hyper-util's"),
        (wrapped("my dns error", "x"), None, "part of a text"),
        (Box::new(Wrapped("request timed out", None)), Some("timeout"), "tower's"),
        (
            wrapped("x", Box::new(Wrapped("operation timed out", None))),
            Some("timeout"),
            "reqwest's",
        ),
        (wrapped("x", "y"), None, "nothing that is known"),
        (
            wrapped("request timed out", io(Kind::ConnectionRefused)),
            Some("connection_refused"),
            "the innermost counts",
        ),
    ];
    for (error, expected, why) in rows {
        let text = error.to_string();
        let found = Cause::of(&error, &[]).failure().map(Failure::error_type);
        assert_eq!(found, expected, "{text}: {why}");
    }
}

/// What rustls and tokio-rustls make of a handshake that fails, inside what tonic makes of that.
#[cfg(feature = "tonic")]
#[test]
fn data_that_is_wrong_while_connecting_is_a_failure_of_tls() {
    use io::ErrorKind as Kind;
    let certificate = "invalid peer certificate: UnknownIssuer";
    let rows = [
        (io::Error::new(Kind::InvalidData, certificate), "tls_error", "a stranger's certificate"),
        (io::Error::new(Kind::UnexpectedEof, "tls handshake eof"), "tls_error", "no handshake"),
        (io(Kind::ConnectionRefused), "connection_refused", "no connection"),
        (io(Kind::TimedOut), "timeout", "an address that does not answer"),
        (io(Kind::HostUnreachable), "connect_error", "another reason"),
    ];
    for (error, expected, why) in rows {
        let text = error.to_string();
        let error: Boxed = Box::new(tonic::ConnectError(wrapped("client error (Connect)", error)));
        let cause = Cause::of(&error, &[]);
        assert_eq!(cause.failure().map(Failure::error_type), Some(expected), "{text}: {why}");
        assert_eq!(cause.grpc_status().name(), "UNAVAILABLE", "{text}: {why}");
        assert_eq!(cause.text(), format!("client error (Connect): {text}"), "{why}");
    }
}

#[cfg(all(feature = "tonic", feature = "_h2"))]
#[test]
fn a_call_that_failed_has_the_status_that_its_caller_sees() {
    let reset = |reason: h2::Reason| -> Boxed { wrapped("stream", h2::Error::from(reason)) };
    let status = |code| -> Boxed { wrapped("x", tonic::Status::new(code, "no")) };
    let rows: Vec<(Boxed, &str, &str)> = vec![
        (reset(h2::Reason::NO_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::PROTOCOL_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::INTERNAL_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::FLOW_CONTROL_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::SETTINGS_TIMEOUT), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::FRAME_SIZE_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::COMPRESSION_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::CONNECT_ERROR), "INTERNAL", "h2 table of gRPC"),
        (reset(h2::Reason::REFUSED_STREAM), "UNAVAILABLE", "h2 table of gRPC"),
        (reset(h2::Reason::CANCEL), "CANCELLED", "h2 table of gRPC"),
        (reset(h2::Reason::ENHANCE_YOUR_CALM), "RESOURCE_EXHAUSTED", "h2 table of gRPC"),
        (reset(h2::Reason::INADEQUATE_SECURITY), "PERMISSION_DENIED", "h2 table of gRPC"),
        (reset(h2::Reason::STREAM_CLOSED), "UNKNOWN", "not in the table"),
        (status(tonic::Code::NotFound), "NOT_FOUND", "a status inside"),
        (status(tonic::Code::Unauthenticated), "UNAUTHENTICATED", "the highest"),
        (wrapped("x", tonic::TimeoutExpired(())), "CANCELLED", "tonic's own timeout"),
        (wrapped("x", "request timed out"), "UNKNOWN", "no timeout that tonic knows"),
        (wrapped("x", io(io::ErrorKind::ConnectionReset)), "UNKNOWN", "nothing that tonic knows"),
    ];
    for (error, expected, why) in rows {
        let cause = Cause::of(&error, &[]);
        assert_eq!(cause.grpc_status().name(), expected, "{}: {why}", cause.text());
    }
}

#[test]
fn a_type_is_looked_into_when_it_is_known_or_named() {
    let error = || Wrapped("mine", Some(io(io::ErrorKind::ConnectionRefused).into()));

    let cause = Cause::of(&error(), &[]).text();
    assert_eq!(cause, "mine", "nobody knows it");
    let (mine, others) = (error(), [as_error::<fmt::Error> as AsError, as_error::<Wrapped>]);
    let cause = Cause::of(&mine, &others);
    assert_eq!(cause.text(), "mine: connection refused");
    assert_eq!(cause.failure(), Some(Failure::ConnectionRefused));

    let text: Arc<str> = "no error at all".into();
    assert_eq!(Cause::of(&text, &others).text(), "no error at all");
}
