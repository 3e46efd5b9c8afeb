//! What the bodies of all requests under way may take of the memory.
//!
//! One body is bounded by `REGROVE_BODY_BYTES_MAX` and their number by `REGROVE_IN_FLIGHT_MAX`; the product would fill any
//! container, and a body of blanks that is 16 MiB large is 16 KB on its way.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::Problem;
use crate::limits::over_capacity;

/// Bodies that are smaller are not counted: their number is enough of a bound.
const SMALL: usize = 16 << 10;

static IN_MEMORY: AtomicUsize = AtomicUsize::new(0);

/// A part of the memory for bodies, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: usize,
    all_max: usize,
}

impl Share {
    /// Nothing yet, of so many bytes for all.
    pub(crate) fn of(all_max: usize) -> Self {
        Self { bytes: 0, all_max }
    }

    /// Takes what is lacking to so many bytes.
    ///
    /// # Errors
    /// 503 with `Retry-After` when others have it.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(self.bytes);
        if bytes < SMALL || more == 0 {
            return Ok(());
        }
        let taken = IN_MEMORY.fetch_add(more, Ordering::Relaxed);
        if taken + more > self.all_max {
            IN_MEMORY.fetch_sub(more, Ordering::Relaxed);
            let detail = format!(
                "bodies of {taken} bytes are in memory already, and no more than {} may be (REGROVE_BODIES_BYTES_MAX)",
                self.all_max
            );
            return Err(over_capacity(detail));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The bytes, which hold this share for as long as anybody has them.
    pub(crate) fn around(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 { bytes } else { Bytes::from_owner(Held { bytes, _share: self }) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        IN_MEMORY.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
