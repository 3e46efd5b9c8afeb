//! The head of a response: read, and written anew for the client.

use std::mem::MaybeUninit;

use http::StatusCode;

use super::framing::Framing;
use super::request::{HEADERS_MAX, add, length, tokens};
use crate::clock::http_date;
use crate::serving::forwarding::stays_here;

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The beginning of a head.
    More,
    /// An interim response (1xx) of so many bytes.
    Interim(usize),
    /// A response.
    Final(Head),
}

/// What the connection needs to know of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head.
    pub(super) len: usize,
    pub(super) status: StatusCode,
    pub(super) framing: Framing,
    /// Whether the body goes to the client in chunks.
    pub(super) chunks: bool,
    /// Whether the replica goes on with the connection.
    pub(super) keep_alive: bool,
}

/// A head that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("malformed response")]
    Head,
    #[error("content-length that contradicts itself")]
    Length,
    #[error("a transfer-encoding other than chunked")]
    Encoding,
    #[error("switched protocols unasked")]
    Switched,
}

/// What the headers come to.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with a name of its own")]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    date: bool,
}

/// Reads a head and writes it for the client into `out`, which is emptied first. `to_head` says that HEAD was asked, `close` that
/// the client's connection ends with this response.
///
/// # Errors
/// [`Malformed`].
pub(super) fn read(bytes: &[u8], to_head: bool, close: bool, out: &mut Vec<u8>) -> Result<Reading, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(Reading::More),
        Err(_) => return Err(Malformed::Head),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Head)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed::Switched);
    }
    if status.is_informational() {
        return Ok(Reading::Interim(len));
    }
    let facts = gather(response.headers)?;
    let bodiless = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (bodiless, facts.chunked, facts.length) {
        (true, _, _) => Framing::NONE,
        (false, true, _) => Framing::CHUNKED,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::UntilClose,
    };
    let chunks = matches!(framing, Framing::Chunked(_) | Framing::UntilClose);
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    for part in [status.as_str(), " ", response.reason.unwrap_or_default(), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let framed_twice = facts.chunked && facts.length.is_some();
    write_headers(out, response.headers, framed_twice);
    if chunks || (bodiless && facts.chunked) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !facts.date {
        add(out, "date", http_date().as_bytes());
    }
    out.extend_from_slice(if close { b"connection: close\r\n\r\n" } else { b"\r\n" });
    let persistent = if response.version == Some(1) { !facts.close } else { facts.keep_alive };
    let keep_alive = persistent && framing != Framing::UntilClose && !framed_twice;
    Ok(Reading::Final(Head { len, status, framing, chunks, keep_alive }))
}

fn gather(headers: &[httparse::Header<'_>]) -> Result<Facts, Malformed> {
    let mut facts = Facts::default();
    for header in headers {
        let (name, value) = (header.name, header.value);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("date") => facts.date = true,
            10 if is("connection") => {
                for token in tokens(value) {
                    facts.close |= token.eq_ignore_ascii_case(b"close");
                    facts.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("content-length") => {
                let length = length(value).ok_or(Malformed::Length)?;
                if facts.length.replace(length).is_some() {
                    return Err(Malformed::Length);
                }
            }
            17 if is("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || facts.chunked {
                    return Err(Malformed::Encoding);
                }
                facts.chunked = true;
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn write_headers(out: &mut Vec<u8>, headers: &[httparse::Header<'_>], framed_twice: bool) {
    for header in headers {
        let false_length = framed_twice && header.name.eq_ignore_ascii_case("content-length");
        if !stays_here(header.name) && !false_length {
            add(out, header.name, header.value);
        }
    }
}

/// An answer of the gateway itself, in plain text as Knative's own proxies give them.
pub(super) fn own(status: StatusCode, text: &str, close: bool) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let line = if text.is_empty() { "" } else { "\n" };
    let (length, date) = (text.len() + line.len(), http_date());
    let connection = if close { "connection: close\r\n" } else { "" };
    let head = format!("HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\n", status.as_str());
    format!("{head}content-length: {length}\r\ndate: {date}\r\n{connection}\r\n{text}{line}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str, to_head: bool, close: bool) -> (Result<Reading, Malformed>, String) {
        let mut out = b"old".to_vec();
        (read(text.as_bytes(), to_head, close, &mut out), String::from_utf8(out).unwrap())
    }

    fn head(lines: &str) -> (Head, String) {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        match reading(&text, false, false) {
            (Ok(Reading::Final(head)), written) => (head, written),
            other => panic!("{lines}: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_written_anew() {
        let (read, text) =
            head("Date: today\r\nContent-Length: 3\r\nKeep-Alive: 5\r\nConnection: Keep-Alive\r\nX-A: 1\r\n");
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 3\r\nX-A: 1\r\n\r\n");
        assert_eq!((read.framing, read.chunks, read.keep_alive), (Framing::Length(3), false, true));
        let (_, text) = reading("HTTP/1.1 404 Not Here\r\nDate: d\r\nContent-Length: 0\r\n\r\n", false, true);
        assert_eq!(text, "HTTP/1.1 404 Not Here\r\nDate: d\r\nContent-Length: 0\r\nconnection: close\r\n\r\n");
        assert!(head("Content-Length: 0\r\n").1.contains("\r\ndate: "), "a proxy dates what comes without");
    }

    #[test]
    fn bodies_end_as_the_head_says() {
        let (read, text) = head("Transfer-Encoding: chunked\r\n");
        assert_eq!((read.framing, read.chunks, read.keep_alive), (Framing::CHUNKED, true, true));
        assert_eq!(text.matches("chunked").count(), 1, "{text}");
        let (read, text) = head("X-A: 1\r\n");
        assert_eq!((read.framing, read.chunks, read.keep_alive), (Framing::UntilClose, true, false));
        assert!(text.contains("transfer-encoding: chunked"), "{text}");
        let (read, text) = head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n");
        assert_eq!((read.framing, read.keep_alive), (Framing::CHUNKED, false), "that connection is not trusted again");
        assert!(!text.contains("Content-Length"), "{text}");
        assert!(!head("Connection: close\r\nContent-Length: 1\r\n").0.keep_alive);
        let old = |lines: &str| match reading(&format!("HTTP/1.0 200 OK\r\n{lines}\r\n"), false, false).0 {
            Ok(Reading::Final(head)) => head.keep_alive,
            other => panic!("{other:?}"),
        };
        assert!(!old("Content-Length: 1\r\n") && old("Connection: keep-alive\r\nContent-Length: 1\r\n"));
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (text, to_head) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", false),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false),
        ] {
            let (read, _) = reading(text, to_head, false);
            assert!(
                matches!(&read, Ok(Reading::Final(head)) if head.framing == Framing::NONE && !head.chunks && head.keep_alive),
                "{text}: {read:?}"
            );
        }
        let (read, _) = reading("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", false, false);
        assert_eq!(read, Ok(Reading::Interim(40)));
        assert_eq!(reading("HTTP/1.1 200 OK\r\nX", false, false).0, Ok(Reading::More));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, malformed) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Malformed::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Malformed::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Malformed::Encoding),
            ("HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n", Malformed::Head),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Malformed::Switched),
            ("SSH-2.0-OpenSSH\r\n\r\n", Malformed::Head),
        ] {
            assert_eq!(reading(text, false, false).0, Err(malformed), "{text}");
        }
    }
}
