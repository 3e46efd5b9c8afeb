//! The head of a request: read, judged, and written anew for the replica in one go.

use std::mem::MaybeUninit;

use http::StatusCode;

use super::buffer::ORDINARY_BYTES;
use super::framing::Framing;
use crate::serving::forwarding::{stays_here, write_forwarded};

/// Headers of a request or a response; hyper refuses a request with more.
pub(super) const HEADERS_MAX: usize = 100;

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The beginning of a head.
    More,
    /// Something that the general server has to deal with: HTTP/2, HTTP/1.0, an upgrade, `Expect`, a target that is no
    /// path, announced trailers, a very long head.
    Unusual,
    /// Nothing that may be passed on. What servers could read in two ways is never guessed at.
    Refused(StatusCode, &'static str),
    /// A request.
    Usual(Head),
}

/// What the connection needs to know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head.
    pub(super) len: usize,
    pub(super) framing: Framing,
    /// Whether the client wants to go on with the connection.
    pub(super) keep_alive: bool,
    /// Whether the method is HEAD: the response has no body, whatever it says.
    pub(super) bodiless_answer: bool,
    /// Whether it may be sent twice: a safe method (RFC 9110, section 9.2.1) and no body.
    pub(super) repeatable: bool,
}

/// Where the results go; both are emptied first.
#[derive(Debug)]
pub(super) struct Written<'a> {
    /// The head for the replica.
    pub(super) head: &'a mut Vec<u8>,
    /// The value of `Host`.
    pub(super) host: &'a mut Vec<u8>,
}

type Headers<'a> = &'a [httparse::Header<'a>];

/// What the headers come to.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with a name of its own")]
struct Facts<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    /// Whether `Connection` names headers of its own.
    names_more: bool,
    /// Whether `Upgrade` has a header, and `Connection` names it.
    upgrade: (bool, bool),
    unusual: bool,
    forwarded: bool,
    forwarded_for: bool,
    forwarded_host: Option<&'a [u8]>,
    forwarded_proto: Option<&'a [u8]>,
}

type Refusal = (StatusCode, &'static str);

/// Reads a head. `client` is the address that `X-Forwarded-For` gets.
pub(super) fn read(bytes: &[u8], client: &str, written: &mut Written<'_>) -> Verdict {
    if bytes.starts_with(b"PRI") {
        return Verdict::Unusual;
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(len)) if len <= ORDINARY_BYTES => len,
        Ok(httparse::Status::Partial) if bytes.len() < ORDINARY_BYTES => return Verdict::More,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Verdict::Unusual,
        Err(_) => return Verdict::Refused(StatusCode::BAD_REQUEST, "malformed request"),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let facts = match gather(request.headers) {
        Ok(facts) => facts,
        Err((status, text)) => return Verdict::Refused(status, text),
    };
    let old = request.version != Some(1);
    if old || facts.unusual || facts.upgrade == (true, true) || method == "CONNECT" || !target.starts_with('/') {
        return Verdict::Unusual;
    }
    let Some(host) = facts.host else {
        return Verdict::Refused(StatusCode::BAD_REQUEST, "a request of HTTP/1.1 names its host");
    };
    written.host.clear();
    written.host.extend_from_slice(host);
    write(written.head, (method, target), request.headers, &facts, client);
    let framing = match (facts.chunked, facts.length) {
        (true, _) => Framing::CHUNKED,
        (false, length) => Framing::Length(length.unwrap_or(0)),
    };
    let safe = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
    Verdict::Usual(Head {
        len,
        framing,
        keep_alive: !facts.close,
        bodiless_answer: method == "HEAD",
        repeatable: safe && framing == Framing::NONE,
    })
}

fn gather(headers: Headers<'_>) -> Result<Facts<'_>, Refusal> {
    let mut facts = Facts::default();
    for header in headers {
        let (name, value) = (header.name, header.value);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => {
                let earlier = facts.host.replace(value);
                if earlier.is_some() {
                    return Err((StatusCode::BAD_REQUEST, "more than one host"));
                }
            }
            6 if is("expect") => facts.unusual = true,
            7 if is("upgrade") => facts.upgrade.0 = true,
            7 if is("trailer") => facts.unusual = true,
            9 if is("forwarded") => facts.forwarded = true,
            10 if is("connection") => connection(&mut facts, value),
            14 if is("content-length") => {
                let length = length(value).ok_or((StatusCode::BAD_REQUEST, "malformed content-length"))?;
                if facts.length.replace(length).is_some() {
                    return Err((StatusCode::BAD_REQUEST, "more than one content-length"));
                }
            }
            15 if is("x-forwarded-for") => facts.forwarded_for = true,
            16 if is("x-forwarded-host") => facts.forwarded_host = Some(value),
            17 if is("x-forwarded-proto") => facts.forwarded_proto = Some(value),
            17 if is("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err((StatusCode::NOT_IMPLEMENTED, "the only transfer-encoding is chunked"));
                }
                if std::mem::replace(&mut facts.chunked, true) {
                    return Err((StatusCode::BAD_REQUEST, "more than one transfer-encoding"));
                }
            }
            _ => {}
        }
    }
    if facts.chunked && facts.length.is_some() {
        return Err((StatusCode::BAD_REQUEST, "both content-length and transfer-encoding"));
    }
    if facts.names_more {
        facts.forget_named(headers);
    }
    Ok(facts)
}

/// Decimal digits and nothing else, RFC 9110 section 8.6.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// The members of a list, RFC 9110 section 5.6.1.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn connection(facts: &mut Facts<'_>, value: &[u8]) {
    for token in tokens(value) {
        if token.eq_ignore_ascii_case(b"close") {
            facts.close = true;
        } else if token.eq_ignore_ascii_case(b"upgrade") {
            facts.upgrade.1 = true;
        } else if !token.eq_ignore_ascii_case(b"keep-alive") {
            facts.names_more = true;
        }
    }
}

/// Whether `Connection` names the header, so that it ends here. What says where a message goes and ends stays, however
/// it is called.
fn is_named(headers: Headers<'_>, name: &str) -> bool {
    let ours = ["host", "content-length"].iter().any(|known| known.eq_ignore_ascii_case(name));
    let connections = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    let mut named = connections.flat_map(|header| tokens(header.value));
    !ours && named.any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
}

impl Facts<'_> {
    fn forget_named(&mut self, headers: Headers<'_>) {
        self.forwarded &= !is_named(headers, "forwarded");
        self.forwarded_for &= !is_named(headers, "x-forwarded-for");
        self.forwarded_host = self.forwarded_host.filter(|_| !is_named(headers, "x-forwarded-host"));
        self.forwarded_proto = self.forwarded_proto.filter(|_| !is_named(headers, "x-forwarded-proto"));
    }
}

fn write(out: &mut Vec<u8>, (method, target): (&str, &str), headers: Headers<'_>, facts: &Facts<'_>, client: &str) {
    out.clear();
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for header in headers {
        let name = header.name;
        let ends_here = stays_here(name)
            || name.eq_ignore_ascii_case("x-forwarded-for")
            || (facts.names_more && is_named(headers, name));
        if !ends_here {
            add(out, name, header.value);
        }
    }
    if facts.chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    write_origin(out, headers, facts, client);
    out.extend_from_slice(b"\r\n");
}

/// `X-Forwarded-*` and, unless the client sent one, `Forwarded`, as `forward` adds them.
fn write_origin(out: &mut Vec<u8>, headers: Headers<'_>, facts: &Facts<'_>, client: &str) {
    out.extend_from_slice(b"x-forwarded-for: ");
    let begin = out.len();
    if facts.forwarded_for {
        for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for")) {
            out.extend_from_slice(header.value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(client.as_bytes());
    let end = out.len();
    out.extend_from_slice(b"\r\n");
    let host = facts.forwarded_host.or(facts.host).unwrap_or_default();
    let proto = facts.forwarded_proto.unwrap_or(b"http");
    if facts.forwarded_host.is_none() {
        add(out, "x-forwarded-host", host);
    }
    if facts.forwarded_proto.is_none() {
        add(out, "x-forwarded-proto", proto);
    }
    if facts.forwarded {
        return;
    }
    out.extend_from_slice(b"forwarded: ");
    if facts.forwarded_for {
        let chain = out[begin..end].to_vec();
        write_forwarded(out, &chain, host, proto);
    } else {
        write_forwarded(out, client.as_bytes(), host, proto);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one header.
pub(super) fn add(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> (Verdict, String) {
        let (mut head, mut host) = (Vec::new(), Vec::new());
        let mut written = Written { head: &mut head, host: &mut host };
        let verdict = read(text.as_bytes(), "10.0.0.1", &mut written);
        (verdict, String::from_utf8(head).unwrap())
    }

    /// A request with further lines in its head.
    fn with(lines: &str) -> String {
        format!("POST /a?b=c HTTP/1.1\r\nHost: a.b\r\n{lines}\r\n")
    }

    fn usual(lines: &str) -> (Head, String) {
        match judged(&with(lines)) {
            (Verdict::Usual(head), text) => (head, text),
            (other, _) => panic!("{lines}: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_written_anew() {
        let (head, text) = usual("X-Kept: 1\r\nConnection: X-Private, keep-alive\r\nx-private: 2\r\nTE: trailers\r\n");
        assert_eq!(
            text,
            "POST /a?b=c HTTP/1.1\r\nHost: a.b\r\nX-Kept: 1\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-host: \
             a.b\r\nx-forwarded-proto: http\r\nforwarded: for=10.0.0.1;host=a.b;proto=http\r\n\r\n"
        );
        assert!(head.keep_alive && !head.repeatable && head.framing == Framing::NONE);
        for internal in ["Keep-Alive", "Proxy-Connection", "K-Original-Host", "Knative-Serving-Revision", "Upgrade"] {
            assert!(!usual(&format!("{internal}: x\r\n")).1.contains(internal), "{internal}");
        }
    }

    #[test]
    fn proxies_before_are_kept() {
        let before = "X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\n";
        let (_, text) = usual(before);
        assert!(text.contains("\r\nx-forwarded-for: 2001:db8::1, 10.1.1.1, 10.0.0.1\r\n"), "{text}");
        let forwarded = "for=\"[2001:db8::1]\";host=a.b;proto=https, for=10.1.1.1, for=10.0.0.1";
        assert!(text.contains(&format!("\r\nforwarded: {forwarded}\r\n")), "{text}");
        assert_eq!(text.to_ascii_lowercase().matches("x-forwarded-proto").count(), 1, "{text}");
        let (_, text) = usual("Forwarded: for=me\r\n");
        assert_eq!(text.to_ascii_lowercase().matches("\r\nforwarded:").count(), 1, "{text}");
        let (_, text) =
            usual("Connection: Forwarded, Host, X-Forwarded-For\r\nForwarded: for=me\r\nX-Forwarded-For: 9.9.9.9\r\n");
        assert!(!text.contains("for=me") && !text.contains("9.9.9.9") && text.contains("Host: a.b"), "{text}");
    }

    #[test]
    fn bodies_are_framed_as_they_say() {
        assert_eq!(usual("Content-Length: 12\r\n").0.framing, Framing::Length(12));
        let (head, text) = usual("Transfer-Encoding: Chunked\r\nConnection: close\r\n");
        assert_eq!((head.framing, head.keep_alive), (Framing::CHUNKED, false));
        assert_eq!(text.to_ascii_lowercase().matches("transfer-encoding").count(), 1, "{text}");
        let safe = |method: &str| matches!(judged(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).0, Verdict::Usual(head) if head.repeatable);
        assert!(safe("GET") && safe("HEAD") && safe("OPTIONS") && !safe("POST") && !safe("DELETE"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (lines, status) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
            ("Content-Length: 1, 1\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: 0x1\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", 400),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked, identity\r\n", 501),
            ("Transfer-Encoding: \u{b}chunked\r\n", 400),
            ("Transfer-Encoding : chunked\r\n", 400),
            ("Content-Length : 1\r\n", 400),
            ("X-A: 1\r\n folded\r\n", 400),
            ("X-A: 1\r\n\tfolded\r\n", 400),
            ("X-A: a\u{0}b\r\n", 400),
            ("X-A: a\rX-Evil: 1\r\n", 400),
            ("Bad Name: 1\r\n", 400),
            (": 1\r\n", 400),
            ("no colon\r\n", 400),
            ("Host: c.d\r\n", 400),
        ] {
            let (verdict, _) = judged(&with(lines));
            assert!(matches!(&verdict, Verdict::Refused(code, _) if *code == status), "{lines:?}: {verdict:?}");
        }
        for text in ["GET / HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
            assert!(matches!(judged(text).0, Verdict::Refused(StatusCode::BAD_REQUEST, _)), "{text:?}");
        }
    }

    #[test]
    fn the_general_server_gets_what_is_unusual() {
        for lines in ["Expect: 100-continue\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n", "Trailer: x\r\n"] {
            assert_eq!(judged(&with(lines)).0, Verdict::Unusual, "{lines}");
        }
        for text in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
            "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n".to_owned(),
            "OPTIONS * HTTP/1.1\r\nHost: a.b\r\n\r\n".to_owned(),
            "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b\r\n\r\n".to_owned(),
            with(&"X-A: 1\r\n".repeat(HEADERS_MAX)),
            with(&format!("X-A: {}\r\n", "a".repeat(ORDINARY_BYTES))),
            format!("GET /{}", "a".repeat(ORDINARY_BYTES)),
        ] {
            assert_eq!(judged(&text).0, Verdict::Unusual, "{}", text.get(..40).unwrap_or(&text));
        }
    }

    #[test]
    fn every_beginning_of_a_head_waits_for_more() {
        let text = with("X-A: 1\r\n");
        for end in 0..text.len() {
            assert_eq!(judged(&text[..end]).0, Verdict::More, "{end}");
        }
        assert!(matches!(judged(&(text.clone() + "GET")).0, Verdict::Usual(head) if head.len == text.len()));
    }
}
