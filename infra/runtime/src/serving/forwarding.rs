//! The headers that a proxy takes out of a message, and those that say whom a request came from.

/// Headers that speak of one connection only, RFC 9110 section 7.6.1; `Connection` names more.
const HOP_BY_HOP: [&str; 7] =
    ["connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"];

/// Headers inside Knative that no function sees, and two that were never standardized.
const INTERNAL: [&str; 6] = [
    "keep-alive",
    "proxy-connection",
    "knative-serving-revision",
    "knative-serving-namespace",
    "k-original-host",
    "k-proxy-request",
];

/// Headers that are not passed on.
pub(crate) fn not_passed_on() -> impl Iterator<Item = &'static str> {
    HOP_BY_HOP.into_iter().chain(INTERNAL)
}

/// Whether a header, however it is written, is one of [`not_passed_on`].
pub(crate) fn stays_here(name: &str) -> bool {
    not_passed_on().any(|known| known.eq_ignore_ascii_case(name))
}

/// Writes the value of `Forwarded` (RFC 7239) that says what `X-Forwarded-For`, `-Host` and `-Proto` say, as queue-proxy
/// does. `chain` is a list of addresses.
pub(crate) fn write_forwarded(out: &mut Vec<u8>, chain: &[u8], host: &[u8], proto: &[u8]) {
    for (at, node) in chain.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        let (open, close): (&[u8], &[u8]) = if node.contains(&b':') { (b"\"[", b"]\"") } else { (b"", b"") };
        for part in [b"for=", open, node, close] {
            out.extend_from_slice(part);
        }
        if at > 0 {
            continue;
        }
        for (name, value) in [(b";host=".as_slice(), host), (b";proto=", proto)] {
            if !value.is_empty() {
                let quote: &[u8] = if value.iter().any(|byte| b":,;=".contains(byte)) { b"\"" } else { b"" };
                for part in [name, quote, value, quote] {
                    out.extend_from_slice(part);
                }
            }
        }
    }
}
