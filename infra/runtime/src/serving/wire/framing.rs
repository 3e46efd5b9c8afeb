//! Where a body ends: RFC 9112, sections 6 and 7.

/// Longest line of a chunk's size with its extensions, and longest trailer field, in bytes.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Longest trailer section, in bytes.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Digits of a chunk's size: more than any chunk has, less than overflows.
const SIZE_DIGITS_MAX: usize = 15;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// It comes in chunks.
    Chunked(Chunks),
    /// It ends with the connection.
    UntilClose,
}

/// How far a chunked body has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// At the beginning of a line with a size.
    Size,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    /// At the end of line after a chunk.
    DataEnd,
    /// Inside the trailer section, of which so many bytes were read.
    Trailers(usize),
    /// At the end.
    Done,
}

/// What comes next in a body; `skip` bytes before it are framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `len` bytes of content.
    Data { skip: usize, len: usize },
    /// The end.
    End { skip: usize },
    /// More has to be read to tell.
    More { skip: usize },
}

/// Chunks that are no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunk")]
pub(super) struct Malformed;

impl Framing {
    /// No body at all.
    pub(super) const NONE: Self = Self::Length(0);
    /// A chunked body, at its beginning.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunks::Size);

    /// Goes one step on in the bytes at hand.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        match self {
            Self::Length(0) => Ok(Step::End { skip: 0 }),
            Self::Length(left) => Ok(data(left, bytes)),
            Self::Chunked(chunks) => chunks.next(bytes),
            Self::UntilClose if bytes.is_empty() => Ok(Step::More { skip: 0 }),
            Self::UntilClose => Ok(Step::Data { skip: 0, len: bytes.len() }),
        }
    }
}

fn data(left: &mut u64, bytes: &[u8]) -> Step {
    let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= len as u64;
    if len == 0 { Step::More { skip: 0 } } else { Step::Data { skip: 0, len } }
}

impl Chunks {
    fn next(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        let mut skip = 0;
        loop {
            let rest = bytes.get(skip..).unwrap_or_default();
            match self {
                Self::Size => {
                    let Some(text) = line(rest)? else {
                        return Ok(Step::More { skip });
                    };
                    skip += text.len() + 2;
                    let size = size(text)?;
                    *self = if size == 0 { Self::Trailers(0) } else { Self::Data(size) };
                }
                Self::Data(left) => {
                    let Step::Data { len, .. } = data(left, rest) else {
                        return Ok(Step::More { skip });
                    };
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Step::Data { skip, len });
                }
                Self::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More { skip }),
                    _ => return Err(Malformed),
                },
                Self::Trailers(seen) => {
                    let Some(text) = line(rest)? else {
                        return Ok(Step::More { skip });
                    };
                    skip += text.len() + 2;
                    *seen += text.len() + 2;
                    if text.is_empty() {
                        *self = Self::Done;
                    } else if *seen > TRAILER_BYTES_MAX {
                        return Err(Malformed);
                    }
                }
                Self::Done => return Ok(Step::End { skip }),
            }
        }
    }
}

/// A line without its end, if it is there whole. A line ends with CR and LF and has no other control characters: what
/// servers disagree about is refused.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let seen = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(at) = seen.iter().position(|&byte| byte.is_ascii_control() && byte != b'\t') else {
        return if seen.len() == LINE_BYTES_MAX { Err(Malformed) } else { Ok(None) };
    };
    match bytes.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(bytes.get(..at)),
        [b'\r'] => Ok(None),
        _ => Err(Malformed),
    }
}

/// The size in a line; extensions after a semicolon are passed over, as RFC 9112 section 7.1.1 asks.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body that arrives in pieces of `piece` bytes; returns its content and what came after it.
    fn read(mut framing: Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let (mut content, mut buffer, mut coming) = (Vec::new(), Vec::new(), bytes.chunks(piece));
        loop {
            match framing.next(&buffer)? {
                Step::Data { skip, len } => {
                    content.extend_from_slice(&buffer[skip..skip + len]);
                    buffer.drain(..skip + len);
                }
                Step::End { skip } => {
                    buffer.drain(..skip);
                    buffer.extend(coming.flatten());
                    return Ok((content, buffer));
                }
                Step::More { skip } => {
                    buffer.drain(..skip);
                    match coming.next() {
                        Some(more) => buffer.extend_from_slice(more),
                        None => return Ok((content, b"<open>".to_vec())),
                    }
                }
            }
        }
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let chunked = b"5;name=\"a b\"\r\nhello\r\n0A \r\n, chunked!\r\n00\r\nX-Sum: 1\r\n\r\nNEXT";
        for piece in 1..=chunked.len() {
            assert_eq!(read(Framing::CHUNKED, chunked, piece), Ok((b"hello, chunked!".to_vec(), b"NEXT".to_vec())));
            assert_eq!(read(Framing::Length(3), b"abcNEXT", piece), Ok((b"abc".to_vec(), b"NEXT".to_vec())));
            assert_eq!(read(Framing::NONE, b"NEXT", piece), Ok((Vec::new(), b"NEXT".to_vec())));
            assert_eq!(read(Framing::UntilClose, b"abc", piece), Ok((b"abc".to_vec(), b"<open>".to_vec())));
        }
        assert_eq!(read(Framing::Length(4), b"abc", 2), Ok((b"abc".to_vec(), b"<open>".to_vec())));
    }

    #[test]
    fn chunks_that_servers_disagree_about_are_refused() {
        let long = [b"1;".as_slice(), &[b'a'; LINE_BYTES_MAX], b"\r\na\r\n0\r\n\r\n"].concat();
        let trailers = [b"0\r\n".as_slice(), &b"a: 0123456789\r\n".repeat(1200), b"\r\n"].concat();
        for bytes in [
            b"\r\na\r\n0\r\n\r\n".as_slice(),
            b"1\na\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b"+1\r\na\r\n0\r\n\r\n",
            b"-1\r\na\r\n0\r\n\r\n",
            b" 1\r\na\r\n0\r\n\r\n",
            b"1 1\r\na\r\n0\r\n\r\n",
            b"1;a\rb\r\na\r\n0\r\n\r\n",
            b"1;a\nb\r\na\r\n0\r\n\r\n",
            b"1\0\r\na\r\n0\r\n\r\n",
            b"10000000000000000\r\na\r\n0\r\n\r\n",
            b"0\r\na: b\n\r\n",
            &long,
            &trailers,
        ] {
            for piece in [1, 7, bytes.len()] {
                assert_eq!(read(Framing::CHUNKED, bytes, piece), Err(Malformed), "{}", bytes.escape_ascii());
            }
        }
    }
}
