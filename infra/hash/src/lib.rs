//! The SHA-256 of bytes and files as artifacts, tags and events write it: 64 lower-case hexadecimal digits.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};

/// Bytes per read while a file is hashed.
const BLOCK: usize = 256 * 1024;

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The SHA-256 of a file, which is never in memory as a whole. `read` is told how many bytes have been read so far.
///
/// # Errors
/// What the system says.
pub fn sha256_of_file(path: &Path, mut read: impl FnMut(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Context::new(&SHA256);
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    loop {
        let length = file.read(&mut block)?;
        let Some(part) = block.get(..length).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
        done += length as u64;
        read(done);
    }
    Ok(hex(hasher.finish().as_ref()))
}

fn hex(digest: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_have_the_hashes_of_the_standard() {
        // FIPS 180-4, the examples of NIST's Cryptographic Standards.
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        const MILLION_A: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!((sha256(b"abc").as_str(), sha256(b"").as_str()), (ABC, EMPTY));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![b'a'; 1_000_000]).unwrap();
        let mut told = Vec::new();
        assert_eq!(sha256_of_file(&path, |done| told.push(done)).unwrap(), MILLION_A);
        assert!(told.len() > 1 && told.is_sorted() && told.last() == Some(&1_000_000), "{told:?}");
        assert!(sha256_of_file(&folder.path().join("none"), |_| ()).is_err());
    }
}
