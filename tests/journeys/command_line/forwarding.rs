//! `--trace`: spans of a tool go through the server that it talks to.

use super::servers::*;
use super::*;

#[tokio::test]
async fn with_trace_the_tool_s_spans_go_through_its_server_in_one_trace_with_the_server_s_own() {
    for records in [Records::Everything, Records::WhatItsCallerSampled] {
        let server = Server::start(records).await;
        let output = server.serve("calls", "--trace").await;
        let (trace, told) = last_line(&output);
        assert_eq!(told, "3 spans delivered", "{records:?}");

        let (stats, asked, seen) = server.end().await;
        assert_eq!(stats, delivered(5), "{records:?}");
        assert_eq!((asked.requests, asked.taken, asked.spans), (3, 3, 3), "{records:?}");
        let (own, forwarded): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|seen| seen.service == "auth");
        let (tool_s_trace, calls) = assert_tool_s(&forwarded, Some("alice"));
        let (server_s_traces, parents) = assert_server_s(&own);
        assert_eq!(tool_s_trace, trace);
        assert_eq!(server_s_traces, [trace].into(), "{records:?}");
        assert_eq!(parents, calls, "{records:?}");
    }
}

#[tokio::test]
async fn with_trace_and_a_server_that_traces_nothing_the_spans_are_lost_and_it_is_said() {
    let server = Server::start(Records::Nothing).await;
    let output = server.serve("calls", "--trace").await;
    let (_, told) = last_line(&output);
    assert_eq!(
        told,
        "0 of 3 spans delivered, 3 lost (export failed 3): the server there has no OTLP TraceService \
         (UNIMPLEMENTED), so it forwards no spans, and is sent no more of them",
    );
    assert_eq!(server.collector.connections(), 0);
    let (stats, asked, seen) = server.end().await;
    assert_eq!(stats, delivered(0));
    assert_eq!((asked.requests, asked.refused.disabled, asked.spans), (1, 1, 0), "asked once");
    assert_eq!(seen.len(), 0);
}

#[tokio::test]
async fn spans_of_a_tool_that_gives_no_channel_go_nowhere_and_it_is_said() {
    for records in SERVERS {
        let server = Server::start(records).await;
        let output = server.serve("logs in", "--trace").await;
        let (trace, told) = last_line(&output);
        assert_eq!(told, "0 of 3 spans delivered, 3 lost (no channel given 3)", "{records:?}");

        let (_, asked, seen) = server.end().await;
        assert_eq!(asked.requests, 0, "{records:?}");
        if records == Records::Nothing {
            assert_eq!(seen.len(), 0);
        } else {
            // Its user wants a trace, and the server's part of it there is.
            assert_eq!(assert_server_s(&seen).0, [trace].into(), "{records:?}");
        }
    }
}

#[tokio::test]
async fn without_trace_a_server_records_what_it_would_anyway() {
    for (records, expected) in SERVERS.into_iter().zip([2, 0, 0]) {
        let server = Server::start(records).await;
        let output = server.serve("calls", "").await;
        assert_eq!(stderr(&output), [""; 0], "{records:?}");
        let (stats, asked, seen) = server.end().await;
        assert_eq!(asked.requests, 0, "{records:?}");
        assert_eq!(stats, delivered(expected), "{records:?}");
        if expected > 0 {
            let (traces, parents) = assert_server_s(&seen);
            assert_eq!((traces.len(), parents), (2, [Vec::new()].into()), "of their own");
        }
    }
}
