//! CloudEvents over HTTP and in JSON: round trips, the specification's examples, and what is refused.

use bytes::Bytes;
use cloudevents::event::ExtensionValue;
use cloudevents::{AttributesReader as _, Data, EventBuilder as _, EventBuilderV10};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use regrove_events::http_binding::{self, BATCH_JSON, Mode, STRUCTURED_JSON};
use regrove_events::{AttributeValue, CloudEvent, Invalid, SpecVersion, json_format};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn headers(pairs: &[(&str, &str)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::try_from(*name)?, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(headers)
}

const REQUIRED: [(&str, &str); 4] = [("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-specversion", "1.0")];

/// A message in binary mode: the required headers, some of them replaced, and more.
fn binary(more: &[(&str, &str)], body: &[u8]) -> Result<std::result::Result<CloudEvent, Invalid>> {
    let mut all: Vec<_> =
        REQUIRED.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).collect();
    all.extend(more);
    Ok(http_binding::from_http(&headers(&all)?, Bytes::copy_from_slice(body)))
}

fn json(text: &str) -> std::result::Result<CloudEvent, Invalid> {
    json_format::from_slice(text.as_bytes())
}

/// An event in JSON with other members than the required ones.
fn with(members: &str) -> std::result::Result<CloudEvent, Invalid> {
    json(&format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{members}}}"#))
}

fn text() -> impl Strategy<Value = String> {
    // Everything that a String may hold, the awkward characters often.
    prop::collection::vec(prop_oneof![Just(' '), Just('"'), Just('%'), Just('\\'), Just('€'), any::<char>()], 1..12)
        .prop_map(|chars| chars.into_iter().filter(|&c| allowed(c)).collect::<String>())
        .prop_filter("not empty", |text| !text.is_empty())
}

fn allowed(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fdd0}'..='\u{fdef}') && (u32::from(c) & 0xfffe) != 0xfffe
}

fn data() -> impl Strategy<Value = Option<(String, Vec<u8>)>> {
    let json = prop_oneof![Just("null"), Just(" {\"a\" : 1 }\n"), Just("\"x\""), Just("not json"), Just("[1e999]")];
    let types = prop::sample::select(vec![
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/x+json",
        "text/plain",
        "application/octet-stream",
    ]);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        json.prop_map(|text| text.as_bytes().to_vec()),
        any::<String>().prop_map(String::into_bytes),
    ];
    prop::option::of((types.prop_map(str::to_owned), bytes))
}

fn value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        text().prop_map(AttributeValue::String),
        any::<i32>().prop_map(AttributeValue::Integer),
        any::<bool>().prop_map(AttributeValue::Boolean),
    ]
}

prop_compose! {
    fn event()(
        id in text(),
        ty in text(),
        subject in prop::option::of(text()),
        source in "[a-z/:.?#%-]{0,3}[a-z0-9/]{1,9}".prop_filter("URI reference", |s| !s.contains("::") && !s.contains('%')),
        time in prop::option::of(prop::sample::select(vec![
            "1996-12-19T16:39:57-08:00", "2026-11-23t08:00:00.123456789z", "1985-04-12T23:20:50.52+00:00",
        ])),
        schema in prop::option::of(Just("https://example.com/a?b#c")),
        extensions in prop::collection::btree_map("x[a-z0-9]{0,8}", value(), 0..4),
        data in data(),
        old in any::<bool>(),
    ) -> Option<CloudEvent> {
        let mut builder = CloudEvent::builder(id, source, ty);
        if old { builder = builder.spec_version(SpecVersion::V0_3); }
        if let Some(subject) = subject { builder = builder.subject(subject); }
        if let Some(time) = time { builder = builder.time_text(time); }
        if let Some(schema) = schema { builder = builder.data_schema(schema); }
        for (name, value) in extensions { builder = builder.extension(name, value); }
        if let Some((media_type, data)) = data { builder = builder.data(media_type, data); }
        builder.build().ok()
    }
}

fn events() -> impl Strategy<Value = CloudEvent> {
    event().prop_filter_map("a source that is a URI reference", |event| event)
}

/// What binary mode can say: all attributes are text there, and an empty body is no data.
fn as_in_headers(event: &CloudEvent) -> Result<CloudEvent> {
    let mut builder = CloudEvent::builder(event.id(), event.source(), event.ty()).spec_version(event.spec_version());
    if let Some(subject) = event.subject() {
        builder = builder.subject(subject);
    }
    if let Some(time) = event.time_text() {
        builder = builder.time_text(time);
    }
    if let Some(schema) = event.data_schema() {
        builder = builder.data_schema(schema);
    }
    for (name, value) in event.extensions() {
        builder = builder.extension(name, value.to_string());
    }
    Ok(builder.build()?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exact_json_gives_the_event_back(event in events()) {
        prop_assert_eq!(json_format::from_slice(&json_format::to_exact_vec(&event)), Ok(event));
    }

    #[test]
    fn structured_mode_gives_the_event_back(event in events()) {
        let (headers, body) = http_binding::to_structured(&event);
        let back = http_binding::from_http(&headers, body.clone()).unwrap();
        prop_assert_eq!(back.extensions().collect::<Vec<_>>(), event.extensions().collect::<Vec<_>>());
        let (came, sent) = (back.data().cloned(), event.data().cloned());
        if event.has_json_data() {
            // White space around JSON may go.
            let trim = |data: Option<Bytes>| data.map(|data| data.trim_ascii().to_vec());
            prop_assert_eq!(trim(came), trim(sent));
        } else {
            prop_assert_eq!(came, sent);
        }
        // What was read is written as it was.
        prop_assert_eq!(http_binding::to_structured(&back).1, body);
    }

    #[test]
    fn binary_mode_gives_the_event_back(event in events()) {
        let (headers, body) = http_binding::to_binary(&event).unwrap();
        prop_assert!(headers.values().all(|value| value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte))));
        let back = http_binding::from_http(&headers, body.clone()).unwrap();
        prop_assert_eq!(back.data_content_type(), event.data_content_type());
        prop_assert_eq!(back.data().cloned().unwrap_or_default(), event.data().cloned().unwrap_or_default());
        let bare = as_in_headers(&back).unwrap();
        prop_assert_eq!(bare, as_in_headers(&event).unwrap());
        prop_assert_eq!(http_binding::to_binary(&back).unwrap(), (headers, body));
    }

    #[test]
    fn a_batch_gives_its_events_back(events in prop::collection::vec(events(), 0..5)) {
        let parts: Vec<Vec<u8>> = events.iter().map(json_format::to_exact_vec).collect();
        let batch = [b"[".as_slice(), &parts.join(&b','), b"]"].concat();
        prop_assert_eq!(json_format::batch_from_slice(&batch), Ok(events));
    }

    #[test]
    fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..200), name in "ce-[ -~]{1,9}") {
        drop(json_format::from_slice(&bytes));
        drop(json_format::batch_from_slice(&bytes));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&bytes)) {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            drop(http_binding::from_http(&headers, Bytes::from(bytes)));
        }
    }

    #[test]
    fn the_sdk_reads_what_we_write(event in events()) {
        prop_assume!(event.spec_version() == SpecVersion::V1_0);
        // The SDK compares media types by case, and reads numbers as doubles.
        prop_assume!(event.data_content_type().is_none_or(|media_type| !media_type.starts_with('A')));
        prop_assume!(event.data().is_none_or(|data| !data.windows(4).any(|part| part == b"e999")));
        let theirs: cloudevents::Event = serde_json::from_slice(&json_format::to_vec(&event)).unwrap();
        prop_assert_eq!((theirs.id(), theirs.ty(), theirs.subject()), (event.id(), event.ty(), event.subject()));
        prop_assert_eq!(theirs.source(), event.source());
        prop_assert_eq!(theirs.datacontenttype(), event.data_content_type());
        prop_assert_eq!(theirs.dataschema().map(ToString::to_string), event.data_schema().map(ToOwned::to_owned));
        let seconds = theirs.time().map(|time| (time.timestamp(), time.timestamp_subsec_nanos()));
        let ours = event.time().map(|time| (time.as_second(), time.subsec_nanosecond().unsigned_abs()));
        prop_assert_eq!(seconds, ours);
        for (name, value) in event.extensions() {
            let same = match (theirs.extension(name), value) {
                (Some(ExtensionValue::String(theirs)), AttributeValue::String(ours)) => theirs == ours,
                (Some(ExtensionValue::Integer(theirs)), AttributeValue::Integer(ours)) => *theirs == i64::from(*ours),
                (Some(ExtensionValue::Boolean(theirs)), AttributeValue::Boolean(ours)) => theirs == ours,
                _ => false,
            };
            prop_assert!(same, "{}", name);
        }
        match (theirs.data(), event.data()) {
            (Some(Data::Binary(theirs)), Some(ours)) => prop_assert_eq!(theirs.as_slice(), ours.as_ref()),
            (Some(Data::String(theirs)), Some(ours)) => prop_assert_eq!(theirs.as_bytes(), ours.as_ref()),
            (Some(Data::Json(theirs)), Some(ours)) => {
                let ours: serde_json::Value = serde_json::from_slice(ours).unwrap();
                prop_assert_eq!(theirs, &ours);
            }
            (theirs, ours) => prop_assert!(theirs.is_none() && ours.is_none()),
        }
    }
}

#[test]
fn we_read_what_the_sdk_writes() -> Result {
    let theirs = EventBuilderV10::new()
        .id("1")
        .ty("t")
        .source("/s?a=b")
        .subject("größe")
        .extension("number", 7_i64)
        .extension("truth", true)
        .data("application/json", serde_json::json!({"a": [1, null]}))
        .build()?;
    let ours = json_format::from_slice(&serde_json::to_vec(&theirs)?)?;
    assert_eq!((ours.id(), ours.source(), ours.subject()), ("1", "/s?a=b", Some("größe")));
    assert_eq!(ours.extension("number"), Some(&AttributeValue::Integer(7)));
    assert_eq!(ours.data().map(Bytes::as_ref), Some(&br#"{"a":[1,null]}"#[..]));
    Ok(())
}

/// HTTP protocol binding 1.0.2, section 3.1.3.2.
#[test]
fn header_values_are_encoded_as_the_specification_shows() -> Result {
    for (header, value) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%45uro", "Euro"),
        ("%2525", "%25"),
        ("%e2%82%ac", "€"),
        ("\"quoted \\\"text\\\" \\\\ %20\"", "quoted \"text\" \\  "),
        ("plain", "plain"),
        ("100%", "100%"),
        ("\"", "\""),
        ("€", "€"),
        ("  padded\t", "padded"),
        ("%20kept%20", " kept "),
    ] {
        let event = binary(&[("ce-subject", header)], b"")??;
        assert_eq!(event.subject(), Some(value), "{header}");
        let (written, _) = http_binding::to_binary(&event)?;
        assert_eq!(http_binding::from_http(&written, Bytes::new())?.subject(), Some(value), "{written:?}");
    }
    let event = CloudEvent::builder("1", "/s", "t").subject("Euro € 😀 \"100%\" \\").build()?;
    let (written, _) = http_binding::to_binary(&event)?;
    assert_eq!(
        written.get("ce-subject").map(HeaderValue::as_bytes),
        Some(&b"Euro%20%E2%82%AC%20%F0%9F%98%80%20%22100%25%22%20\\"[..])
    );
    Ok(())
}

#[test]
fn the_content_type_tells_the_mode() -> Result {
    for (content_type, mode) in [
        ("application/cloudevents+json", Mode::Structured),
        ("Application/CloudEvents+JSON; charset=UTF-8", Mode::Structured),
        ("application/cloudevents", Mode::Structured),
        ("application/cloudevents-batch+json;a=b", Mode::Batched),
        ("application/json", Mode::Binary),
        ("", Mode::Binary),
    ] {
        assert_eq!(http_binding::mode(&headers(&[("content-type", content_type)])?)?, mode, "{content_type}");
    }
    for unknown in ["application/cloudevents+xml", "application/cloudevents-batch+avro"] {
        let error = http_binding::mode(&headers(&[("content-type", unknown)])?);
        assert!(matches!(&error, Err(Invalid::Mode(text)) if text.contains(unknown)), "{error:?}");
    }
    let batch = http_binding::from_http(&headers(&[("content-type", BATCH_JSON)])?, Bytes::from_static(b"[]"));
    assert!(matches!(batch, Err(Invalid::Mode(_))), "{batch:?}");
    let event = CloudEvent::builder("1", "/s", "t").build()?;
    assert_eq!(
        http_binding::to_structured(&event).0.get(CONTENT_TYPE),
        Some(&HeaderValue::from_static(STRUCTURED_JSON))
    );
    Ok(())
}

#[test]
fn binary_messages_that_are_no_events_are_refused() -> Result {
    let refused = |more: &[(&str, &str)], part: &str| -> Result {
        let result = binary(more, b"")?;
        let error = result.err().ok_or_else(|| format!("{more:?} was accepted"))?;
        assert!(error.to_string().contains(part), "{more:?}: {error}");
        Ok(())
    };
    refused(&[("ce-id", "")], "`id` is empty")?;
    refused(&[("ce-specversion", "2.0")], "`2.0`")?;
    refused(&[("ce-source", "not a uri")], "source")?;
    refused(&[("ce-subject", "")], "`subject` is empty")?;
    refused(&[("ce-time", "yesterday")], "RFC 3339")?;
    refused(&[("ce-dataschema", "relative")], "absolute")?;
    refused(&[("ce-x_y", "1")], "`x_y`")?;
    refused(&[("ce-data", "1")], "`data`")?;
    refused(&[("ce-datacontenttype", "a/b")], "Content-Type")?;
    refused(&[("ce-subject", "%ff")], "UTF-8")?;
    refused(&[("ce-subject", "a%00b")], "U+0000")?;
    refused(&[("ce-x", "a%7f")], "U+007F")?;
    refused(&[("ce-subject", "1"), ("ce-subject", "2")], "twice")?;
    refused(&[("content-type", "a/b"), ("content-type", "c/d")], "twice")?;
    refused(&[("content-type", "nonsense")], "media type")?;
    for missing in REQUIRED.map(|(name, _)| name) {
        let rest: Vec<_> = REQUIRED.into_iter().filter(|(name, _)| *name != missing).collect();
        let error = http_binding::from_http(&headers(&rest)?, Bytes::new());
        assert!(matches!(&error, Err(Invalid::Missing(name)) if missing.ends_with(name)), "{missing}: {error:?}");
    }
    let nothing = http_binding::from_http(&HeaderMap::new(), Bytes::from_static(b"{}"));
    assert!(matches!(nothing, Err(Invalid::Mode(_))), "{nothing:?}");
    Ok(())
}

#[test]
fn json_that_is_no_event_is_refused() {
    let refused = |result: std::result::Result<CloudEvent, Invalid>, part: &str| {
        assert!(result.as_ref().is_err_and(|error| error.to_string().contains(part)), "{part}: {result:?}");
    };
    refused(json(""), "not a JSON event");
    refused(json("[]"), "JSON object");
    refused(json("{}"), "`specversion` is missing");
    refused(json(r#"{"specversion":"1.0","id":"1","source":"/s"}"#), "`type` is missing");
    refused(json(r#"{"specversion":"1.0","id":null,"source":"/s","type":"t"}"#), "`id` is missing");
    refused(json(r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#), "JSON string");
    refused(with(r#""id":"2""#), "`id` appears twice");
    refused(with(r#""x":"1","\u0078":"2""#), "`x` appears twice");
    refused(with(r#""data":1,"data_base64":"AQ==""#), "exclude");
    refused(with(r#""data_base64":"%%""#), "data_base64");
    refused(with(r#""data_base64":7"#), "JSON string");
    refused(with(r#""subject":7"#), "subject");
    refused(with(r#""Upper":"1""#), "`Upper`");
    refused(with(r#""number":2147483648"#), "32 bits");
    refused(with(r#""number":1.5"#), "whole");
    refused(with(r#""object":{}"#), "`object`");
    refused(with(r#""subject":"a\u0001""#), "U+0001");
    refused(with(r#""ext":"\uffff""#), "U+FFFF");
    refused(with(r#""time":"2026-11-23T08:00:00+02""#), "RFC 3339");
    refused(with(r#""time":"2026-11-23T08:00:00,5Z""#), "RFC 3339");
    refused(with(r#""time":"2026-13-23T08:00:00Z""#), "RFC 3339");
    refused(with(r#""time":"2026-11-23 08:00:00Z""#), "RFC 3339");
    assert!(json_format::from_slice(b"{\"id\":\"\xff\"}").is_err(), "invalid UTF-8");
    assert!(json_format::batch_from_slice(br#"[{"specversion":"1.0"}]"#).is_err());
    assert!(json_format::batch_from_slice(b"{}").is_err());
    assert_eq!(json_format::batch_from_slice(b"[]"), Ok(vec![]));
}

#[test]
fn null_members_are_absent_and_data_keeps_its_bytes() -> Result {
    let event = with(r#""subject":null,"ext":null,"data":null,"data_base64":null"#)?;
    assert_eq!(event, CloudEvent::builder("1", "/s", "t").build()?);
    let event = with(r#""data": {"z":1, "a" : 1.0} "#)?;
    assert_eq!(event.data().map(Bytes::as_ref), Some(&br#"{"z":1, "a" : 1.0}"#[..]));
    let event = with(r#""datacontenttype":"text/plain","data":"\u20ac""#)?;
    assert_eq!(event.data().map(Bytes::as_ref), Some("€".as_bytes()));
    let event = with(r#""data":"\u20ac""#)?;
    assert_eq!(event.data().map(Bytes::as_ref), Some(&br#""\u20ac""#[..]), "JSON when nothing else is said");
    let event = with(r#""data_base64":"AP8=""#)?;
    assert_eq!(event.data().map(Bytes::as_ref), Some(&b"\x00\xff"[..]));
    Ok(())
}

#[test]
fn many_members_take_no_time() {
    let members: Vec<String> = (0..100_000).map(|number| format!(r#""x{number}":"1""#)).collect();
    let since = std::time::Instant::now();
    assert!(with(&members.join(",")).is_ok());
    assert!(since.elapsed().as_secs() < 60, "{:?}", since.elapsed());
}
