//! What has to be true of everything that is sent as a CloudEvent. The fuzz target and the test that reads its kept corpus share it.

use http::{HeaderMap, HeaderName, HeaderValue};
use regrove_events::{CloudEvent, Event, http_binding, json_format};
use regrove_predict::{Signature, bodies};

/// Reads the input in structured, in batched and in binary mode, sends each event on and reads it again; tells how many
/// events there were.
///
/// # Panics
/// When what is sent cannot be read, or is another event then.
pub(crate) fn events(input: &[u8]) -> usize {
    let mut events: Vec<CloudEvent> = json_format::from_slice(input).into_iter().collect();
    events.extend(json_format::batch_from_slice(input).into_iter().flatten());
    events.extend(binary(input));
    events.iter().for_each(check);
    events.len()
}

/// Lines of `name: value`, an empty line, the body.
fn binary(input: &[u8]) -> Option<CloudEvent> {
    let end = input.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (input.get(..end)?, input.get(end + 2..)?);
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    http_binding::from_http(&headers, body.to_vec().into()).ok()
}

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
    let Ok(Event::PredictRequested(_)) = Event::read(event) else { return };
    let signature = Signature::new(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let data = event.data().map(|data| bodies::requested(data, &signature));
    if let Some(Ok(rows)) = data {
        assert!(rows.n_rows > 0 && rows.values.len() == rows.n_rows * 3, "rows of the model's width");
        assert!(rows.values.iter().all(|value| !value.is_infinite()), "nothing infinite");
    }
}
