//! Whatever is sent as a CloudEvent, in structured or in binary mode: an event that can be sent on and read again as the same,
//! or an error.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use regrove_events::{CloudEvent, Event, http_binding, json_format};

fuzz_target!(|input: &[u8]| {
    if let Ok(event) = json_format::from_slice(input) {
        check(&event);
    }
    if let Ok(batch) = json_format::batch_from_slice(input) {
        batch.iter().for_each(check);
    }
    // Lines of `name: value`, an empty line, the body.
    let Some(end) = input.windows(2).position(|pair| pair == b"\n\n") else { return };
    let mut headers = HeaderMap::new();
    for line in input[..end].split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(event) = http_binding::from_http(&headers, input[end + 2..].to_vec().into()) {
        check(&event);
    }
});

fn check(event: &CloudEvent) {
    let again = |headers, body| http_binding::from_http(&headers, body).expect("what we send is read");
    let (headers, body) = http_binding::to_structured(event);
    assert_eq!(json_format::to_vec(&again(headers, body)), json_format::to_vec(event), "structured mode");
    // In binary mode extensions lose their types.
    if let Ok((headers, body)) = http_binding::to_binary(event) {
        let again = again(headers, body);
        let names = |event: &CloudEvent| {
            let texts = [event.id(), event.source(), event.ty(), event.subject().unwrap_or_default()];
            texts.map(str::to_owned)
        };
        assert_eq!(names(&again), names(event), "binary mode");
    }
    let _ = Event::read(event);
}
