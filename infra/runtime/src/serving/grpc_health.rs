//! gRPC's health protocol (`grpc.health.v1.Health/Check`, grpc/doc/health-checking.md), as far as a probe needs it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Version, header};
use http_body_util::{BodyExt as _, Limited};

use super::body::Body;
use super::pool::Pool;

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 10;
/// A message's compression flag and length.
const PREFIX_BYTES: usize = 5;

/// Whether the server says that the service is being served; the empty name means the server as a whole.
pub(super) async fn is_serving(address: SocketAddr, service: &str, user_agent: &'static str) -> bool {
    let Ok(mut request) = Request::post(format!("http://{address}{METHOD}"))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Body::from(message(service)))
    else {
        return false;
    };
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(user_agent));
    let Ok((response, _)) = Arc::new(Pool::new(true)).send(address, request).await else {
        return false;
    };
    let failed = |headers: &http::HeaderMap| headers.get("grpc-status").is_some_and(|status| status != "0");
    if !response.status().is_success() || failed(response.headers()) {
        return false;
    }
    let Ok(collected) = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await else {
        return false;
    };
    !collected.trailers().is_some_and(failed) && status(&collected.to_bytes()) == Some(SERVING)
}

/// A `HealthCheckRequest` with its prefix: field 1, the service's name.
fn message(service: &str) -> Bytes {
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.push(u8::try_from(length & 0x7f | 0x80).unwrap_or_default());
            length >>= 7;
        }
        body.push(u8::try_from(length).unwrap_or_default());
        body.extend(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(body.len()).unwrap_or_default().to_be_bytes());
    framed.extend(body);
    framed.into()
}

/// Field 1 of a `HealthCheckResponse`. It has no others; one that is not there is 0.
fn status(framed: &[u8]) -> Option<u64> {
    let (prefix, body) = framed.split_at_checked(PREFIX_BYTES)?;
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if prefix.first() != Some(&0) || usize::try_from(length).ok()? != body.len() {
        return None;
    }
    match body {
        [] => Some(0),
        [0x08, value @ 0..0x80] => Some(u64::from(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protobuf_writes_them() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"a".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn only_a_whole_answer_says_serving() {
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Some(0));
        for broken in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 8], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 2, 16, 1]] {
            assert_eq!(status(broken), None, "{broken:?}");
        }
    }
}
