//! Ports for processes that open their sockets themselves.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::clock::now_ms;

/// The ports that are given out: `COUNT` of them from `FIRST` on. They lie below those that Linux gives to whoever asks for
/// any (32768 to 60999, `net.ipv4.ip_local_port_range`), so that nobody gets one by chance while the process is starting.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The turn of the next port. Each runtime begins somewhere else.
static TURN: LazyLock<AtomicU16> = LazyLock::new(|| {
    let somewhere = now_ms().rem_euclid(i64::from(COUNT));
    AtomicU16::new(u16::try_from(somewhere).unwrap_or_default())
});

/// A port of 127.0.0.1 that is free now, and not the one that was given out last.
pub(super) fn free() -> io::Result<u16> {
    for _ in 0..COUNT {
        let port = FIRST + TURN.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_in_turn_and_taken_ones_are_passed_over() {
        let first = free().unwrap();
        let taken: Vec<_> =
            (1..=3).filter_map(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, first + next)).ok()).collect();
        let second = free().unwrap();
        assert_ne!(second, first);
        for listener in &taken {
            assert_ne!(second, listener.local_addr().unwrap().port());
        }
        for port in [first, second] {
            assert!((FIRST..FIRST + COUNT).contains(&port), "{port}");
        }
    }
}
