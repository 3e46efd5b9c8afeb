//! The same suite with the broker's journal in Redis: `regrove up` finds `REDIS_URL`.

#[path = "main.rs"]
mod suite;
