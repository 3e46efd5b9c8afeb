//! The cookie that the login page sets: when it ends, and a proof that only the token's holder could make.
//!
//! The proof is HMAC-SHA-256 (RFC 2104) of the end under the token, so no replica has to remember it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use http::header::COOKIE;
use jiff::Timestamp;
use sha2::Sha256;

/// How long a login lasts.
const SESSION_SECONDS: i64 = 12 * 60 * 60;
/// Name of the cookie.
const COOKIE_NAME: &str = "regrove_session";

/// Knows the token and what was made from it.
#[derive(Clone)]
pub(crate) struct Sessions {
    key: Hmac<Sha256>,
    /// Proof of the token itself: equal proofs are compared in constant time.
    token: Vec<u8>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sessions([redacted])")
    }
}

impl Sessions {
    pub(crate) fn new(token: &str) -> Self {
        // HMAC takes keys of any length.
        let key = Hmac::new_from_slice(token.as_bytes())
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::array::Array::default()));
        Self { token: proof(&key, "token", token).finalize().into_bytes().to_vec(), key }
    }

    /// Whether this is the token. Takes the same time for every wrong one.
    pub(crate) fn is_token(&self, token: &str) -> bool {
        proof(&self.key, "token", token).verify_slice(&self.token).is_ok()
    }

    /// `Set-Cookie` for a login at `now`.
    pub(crate) fn set_cookie(&self, now: Timestamp) -> String {
        let ends = now.as_second().saturating_add(SESSION_SECONDS);
        let proof = hex(&proof(&self.key, "session", &ends.to_string()).finalize().into_bytes());
        format!("{COOKIE_NAME}={ends}.{proof}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict")
    }

    /// `Set-Cookie` that ends the session in this browser.
    pub(crate) fn clear_cookie() -> String {
        format!("{COOKIE_NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    }

    /// Whether a cookie's value was made by [`set_cookie`](Self::set_cookie) and has not ended.
    pub(crate) fn is_open(&self, value: &str, now: Timestamp) -> bool {
        let Some((ends, given)) = value.split_once('.') else { return false };
        let Some(given) = unhex(given) else { return false };
        let open = ends.parse::<i64>().is_ok_and(|ends| ends > now.as_second());
        open && proof(&self.key, "session", ends).verify_slice(&given).is_ok()
    }
}

fn proof(key: &Hmac<Sha256>, use_of: &str, text: &str) -> Hmac<Sha256> {
    let mut mac = key.clone();
    for part in [use_of, "\n", text] {
        mac.update(part.as_bytes());
    }
    mac
}

/// The value of the session cookie of a request.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    named_cookie(headers, COOKIE_NAME)
}

/// The value of a request's cookie.
pub(super) fn named_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        },
    )
}

/// Bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn a_session_ends_and_cannot_be_made_or_stretched_without_the_token() {
        let sessions = Sessions::new(TOKEN);
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        let header = sessions.set_cookie(now);
        let value = header.split(['=', ';']).nth(1).unwrap();
        assert!(header.contains("HttpOnly; SameSite=Strict"), "{header}");
        assert!(!header.contains(TOKEN));
        assert!(sessions.is_open(value, now));
        let after = now + jiff::SignedDuration::from_secs(SESSION_SECONDS);
        assert!(!sessions.is_open(value, after), "ended");
        let (ends, proof) = value.split_once('.').unwrap();
        let later = ends.parse::<i64>().unwrap() + 1;
        assert!(!sessions.is_open(&format!("{later}.{proof}"), now), "stretched");
        assert!(!Sessions::new("another-token-of-16").is_open(value, now), "another token");
        for wrong in ["", ".", "1", "99999999999.", "99999999999.zz", "99999999999.é"] {
            assert!(!sessions.is_open(wrong, now), "{wrong}");
        }
    }

    #[test]
    fn only_the_token_is_the_token() {
        let sessions = Sessions::new(TOKEN);
        assert!(sessions.is_token(TOKEN));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!sessions.is_token(wrong), "{wrong}");
        }
        assert!(!format!("{sessions:?}").contains(TOKEN));
    }
}
