//! Passing one request to a replica and its response back.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;

use super::body::{Body, ReplicaBody};
use super::forwarding::{not_passed_on, write_forwarded};
use super::pool::{SendError, Used};
use super::revision::Revision;
use super::table::{Arrival, Lease};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Address of the client that a request came from; an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// A response whose body is still to come.
#[derive(Debug)]
pub(crate) struct Forwarded {
    response: Response<Incoming>,
    used: Used,
    lease: Lease,
    upgrade: Option<OnUpgrade>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The request, if the replica never saw any of it.
    pub(crate) unsent: Option<Box<Request<Body>>>,
    pub(crate) reason: String,
}

/// Sends the request to the replica of the lease.
pub(crate) async fn forward(
    revision: &Arc<Revision>,
    lease: Lease,
    mut request: Request<Body>,
) -> Result<Forwarded, Failed> {
    let replica = Arc::clone(lease.replica());
    let http2 = replica.pool.is_http2();
    // HTTP/2 knows no upgrades of a connection.
    let asked = upgrade_asked(request.headers()).filter(|_| !http2);
    let upgrade = asked.map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    prepare(&mut request, upgrade.as_ref().map(|(protocol, _)| protocol));
    if http2 {
        prepare_http2(&mut request);
    }
    let again = repeatable(&request);
    let mut sent = replica.pool.send(replica.address(), request).await;
    if let (Err(SendError::Broken(_)), Some(again)) = (&sent, again) {
        // Likely a kept connection that the replica closed just then. Such requests may be sent twice.
        sent = replica.pool.send(replica.address(), again).await;
    }
    match sent {
        Ok((response, used)) => {
            revision.answered(&replica);
            Ok(Forwarded { response, used, lease, upgrade: upgrade.map(|(_, upgrade)| upgrade) })
        }
        Err(SendError::NotSent(unsent, cause)) => {
            tracing::debug!(replica = replica.name, %cause, "replica not reached");
            Err(Failed { unsent: Some(unsent), reason: format!("{}: cannot be reached: {cause}", replica.name) })
        }
        Err(SendError::Broken(cause)) => {
            Err(Failed { unsent: None, reason: format!("{}: broke the connection: {cause}", replica.name) })
        }
    }
}

/// A copy of a request that is safe to repeat and has no body.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if !safe || !hyper::body::Body::is_end_stream(request.body()) {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Makes a prepared request one of HTTP/2: the host is part of the target, RFC 9113 section 8.3.1.
fn prepare_http2(request: &mut Request<Body>) {
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build();
    // A host that is no authority cannot be said in HTTP/2.
    *request.uri_mut() = uri.unwrap_or_else(|_| Uri::from_static("http://localhost/"));
    *request.version_mut() = Version::HTTP_2;
    // The one value of TE that HTTP/2 has, which gRPC servers ask for; trailers do pass through.
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
}

/// Rewrites what a proxy has to: target in origin form, HTTP/1.1, hop-by-hop headers out, forwarding headers in.
fn prepare(request: &mut Request<Body>, upgrade: Option<&HeaderValue>) {
    if !request.headers().contains_key(header::HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().unwrap_or_else(|_| Uri::from_static("/"));
    *request.version_mut() = Version::HTTP_11;
    // Taken, so that a request that is given to another replica is not marked twice.
    let client = request.extensions_mut().remove::<Client>().map(|client| client.0);
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    if let Some(client) = client {
        add_forwarding(headers, client);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in not_passed_on() {
        headers.remove(name);
    }
}

/// The protocol that a client wants to switch to.
fn upgrade_asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let connection = headers.get(header::CONNECTION)?.to_str().ok()?;
    let asked = connection.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

/// `X-Forwarded-*` and, unless the client sent one, `Forwarded` (RFC 7239) made from them, as queue-proxy does.
fn add_forwarding(headers: &mut HeaderMap, client: IpAddr) {
    let text = |headers: &HeaderMap, name: &HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let set = |headers: &mut HeaderMap, name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let before = text(headers, &X_FORWARDED_FOR);
    let chain = if before.is_empty() { client.to_string() } else { format!("{before}, {client}") };
    set(headers, X_FORWARDED_FOR, &chain);
    if !headers.contains_key(X_FORWARDED_PROTO) {
        set(headers, X_FORWARDED_PROTO, "http");
    }
    if !headers.contains_key(X_FORWARDED_HOST) {
        let host = text(headers, &header::HOST);
        set(headers, X_FORWARDED_HOST, &host);
    }
    if !headers.contains_key(header::FORWARDED) {
        let (host, proto) = (text(headers, &X_FORWARDED_HOST), text(headers, &X_FORWARDED_PROTO));
        let mut forwarded = Vec::new();
        write_forwarded(&mut forwarded, chain.as_bytes(), host.as_bytes(), proto.as_bytes());
        if let Ok(value) = HeaderValue::from_bytes(&forwarded) {
            headers.insert(header::FORWARDED, value);
        }
    }
}

impl Forwarded {
    /// The response for the client, with everything attached that has to live until its body ends.
    pub(crate) fn into_response(
        self,
        deadline: Pin<Box<Sleep>>,
        idle: Option<Duration>,
        arrival: Arrival,
    ) -> Response<Body> {
        let Self { mut response, used, lease, upgrade } = self;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return switch(response, lease, upgrade, arrival);
        }
        remove_hop_by_hop(response.headers_mut());
        let (parts, incoming) = response.into_parts();
        let body = ReplicaBody::new(incoming, deadline, idle, used, lease, arrival);
        let mut response = Response::from_parts(parts, Body::Replica(Box::new(body)));
        *response.version_mut() = Version::HTTP_11;
        response
    }
}

/// Joins the two upgraded connections. The slot is taken until either side closes.
fn switch(
    mut response: Response<Incoming>,
    lease: Lease,
    upgrade: Option<OnUpgrade>,
    arrival: Arrival,
) -> Response<Body> {
    let replica = hyper::upgrade::on(&mut response);
    let Some(client) = upgrade else {
        return super::answer::plain(StatusCode::BAD_GATEWAY, "the replica switched protocols unasked");
    };
    tokio::spawn(async move {
        let (client, replica) = match tokio::try_join!(client, replica) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade failed"),
        };
        let (mut client, mut replica) = (TokioIo::new(client), TokioIo::new(replica));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut replica).await {
            tracing::debug!(%error, "upgraded connection ended");
        }
        drop((lease, arrival));
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(headers: &[(&str, &str)], client: &str) -> HeaderMap {
        let mut request = Request::get("http://hello.default.localhost:8000/path?q=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Client(client.parse().unwrap()));
        prepare(&mut request, None);
        assert_eq!(request.uri(), "/path?q=1");
        request.headers().clone()
    }

    #[test]
    fn forwarding_headers_are_added() {
        let headers = prepared(&[("host", "hello.default.localhost:8000")], "127.0.0.1");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["forwarded"], "for=127.0.0.1;host=\"hello.default.localhost:8000\";proto=http");
    }

    #[test]
    fn forwarding_headers_of_proxies_before_are_kept() {
        let headers = prepared(
            &[("host", "a.b"), ("x-forwarded-for", "2001:db8::1"), ("x-forwarded-proto", "https")],
            "10.0.0.1",
        );
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1, 10.0.0.1");
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";host=a.b;proto=https, for=10.0.0.1");
        let headers = prepared(&[("host", "a.b"), ("forwarded", "for=me")], "10.0.0.1");
        assert_eq!(headers["forwarded"], "for=me");
    }

    #[test]
    fn hop_by_hop_headers_go_and_the_rest_stays() {
        let headers = prepared(
            &[
                ("host", "a.b"),
                ("connection", "close, X-Private"),
                ("x-private", "1"),
                ("te", "trailers"),
                ("knative-serving-revision", "x"),
                ("x-kept", "2"),
            ],
            "10.0.0.1",
        );
        for gone in ["connection", "x-private", "te", "knative-serving-revision"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["x-kept"], "2");
        assert_eq!(headers["host"], "a.b");
    }

    #[test]
    fn host_comes_from_the_authority_when_there_is_no_header() {
        assert_eq!(prepared(&[], "10.0.0.1")["host"], "hello.default.localhost:8000");
    }
}
