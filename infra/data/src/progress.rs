//! How far the reading of a data set has come.

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes are fetched from elsewhere.
    Fetch,
    /// Columns are looked at.
    Survey,
    /// The frame is written.
    Prepare,
    /// It is hashed.
    Hash,
}

impl Stage {
    /// Its name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetching",
            Self::Survey => "reading",
            Self::Prepare => "writing",
            Self::Hash => "hashing",
        }
    }
}

/// Told, from any thread, how far a stage has come.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes or, while the total is not known, just so many.
    fn advance(&self, stage: Stage, done: u64, total: Option<u64>);
}

/// Nobody listens.
impl Progress for () {
    fn advance(&self, _: Stage, _: u64, _: Option<u64>) {}
}
