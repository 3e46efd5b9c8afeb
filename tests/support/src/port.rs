//! A port that stays ours, whether anybody listens on it or not.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::net::TcpSocket;

/// A port of 127.0.0.1 that the kernel gives to nobody else as long as this lives.
///
/// Who asks for a free port and lets go of it may find that another test got it in between. This one is held by a socket
/// that does not listen: connections are refused, and a server that is told the number can listen all the same, as nearly
/// all of them allow their address to be used again (`SO_REUSEADDR`).
#[derive(Debug)]
pub struct Port {
    _socket: TcpSocket,
    number: u16,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("a free port of 127.0.0.1")?;
        let number = socket.local_addr()?.port();
        Ok(Self { _socket: socket, number })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address, as in a URL.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn nobody_answers_until_somebody_who_was_told_listens() {
        let port = Port::reserve().unwrap();
        let refused = TcpStream::connect(port.address()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let listener = TcpListener::bind((address, port.number())).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }
}
