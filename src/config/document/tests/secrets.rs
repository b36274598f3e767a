//! What no error repeats.

use super::*;

#[test]
fn secrets_are_not_shown() {
    let headers = |headers: &str| {
        format!("tracing_service:\n  enabled: yes\n  exporter_url: h\n  headers: {headers}\n")
    };
    let cases = [
        ("password: hunter2\nb: @x\n", "the line before a syntax error"),
        ("b: 'x\npassword: hunter2\n", "the lines after one"),
        ("tracing_service: 1\npassword: hunter2\ntracing_service: 1\n", "beside a repeated key"),
        ("tracing-service: {password: hunter2}\n", "below a section with a slip in its name"),
        ("password: *hunter2\n", "a password that looks like an alias"),
        ("password: !<hunter2\n", "or like a tag"),
        ("password: 'a'hunter2\n", "or like text after a quote"),
        ("password: \"\\hunter2\"\n", "or like an escape"),
        ("password: !!int hunter2\ntracing_service: {enabled: 7}\n", "in another section"),
        ("tracing_service: {enabled: yes, exporter_url: 'http://me:hunter2@h'}\n", "userinfo"),
        ("tracing_service: {enabled: yes, exporter_url: 'me:hunter2@h:4317'}\n", "userinfo"),
        ("tracing_service: {enabled: 'me:hunter2@h'}\n", "in the wrong place"),
        ("tracing_service: {enabled: yes, exporter_url: h, me:hunter2@h: 1}\n", "as a key"),
        ("tracing_service: {enabled: yes, exporter_url: h, token: hunter2}\n", "an unknown key"),
        ("tracing_service: {enabled: yes, exporter_url: {token: hunter2}}\n", "a whole mapping"),
        ("tracing_service: {enabled: yes, exporter_url: [hunter2]}\n", "a whole list"),
        ("tracing_service: http://me:hunter2@h\n", "the section itself"),
        (&headers("hunter2"), "a header instead of headers"),
        (&headers("['authorization: hunter2']"), "a list of headers"),
        (&headers("{hunter2 x: 1}"), "as a name that is none"),
        (&headers("{x: \"hunter2\\nx\"}"), "a line too many"),
        (&headers("{x: hunter2é}"), "not ASCII"),
        (&headers("{x: [hunter2]}"), "a list of values"),
        (&headers("{x: {hunter2: }}"), "in braces"),
        (&headers("{x: {value: hunter2}}"), "at a key that is none"),
        (&headers("{x: {env: a=hunter2}}"), "with what it is set to"),
        (&headers("{x: {env: a, file: hunter2}}"), "from two places"),
        (&headers("{x: {env: Bearer hunter2}}"), "instead of the name of a variable"),
        (&headers("{x: {env: 'hunter2/+='}}"), "in characters that no such name has"),
        (&headers("{x: {file: Bearer hunter2}}"), "instead of a path"),
        (&headers("{x: {file: Basic aHVu/hunter2==}}"), "with a slash of its own"),
        (&headers("{x: {file: [hunter2]}}"), "too deep"),
        (&headers("{x: hunter2, x: hunter2}"), "given twice"),
        (&headers("{x: 1.hunter2e}\n  queue: 1"), "beside another mistake"),
        (&headers("\n  authorization: hunter2"), "with too little indentation"),
        (
            "tracing_service: {enabled: 1, exporter_url: h, me:hunter2@h: 1, me:hunter2@h: 2}\n",
            "a repeated key",
        ),
        ("tracing_service: {enabled: yes, exporter_url: 'http://u:1/hunter2@h'}\n", "a path?"),
    ];
    for (yaml, reason) in cases {
        let error = read(yaml).expect_err(reason);
        for shown in [error.to_string(), format!("{error:?} {error:#?}")] {
            assert!(!shown.contains("hunter2"), "{yaml}: {reason}: {shown}");
        }
        let problems = format!("{:?}", error.problems().collect::<Vec<_>>());
        assert!(!problems.contains("hunter2"), "{yaml}: {reason}: {problems}");
    }
}
