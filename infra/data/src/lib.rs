//! Data sets: from where they lie to the canonical frame, in bounded memory.
//!
//! ```text
//! Location ── fetch ──► a local file ── Table ──► survey (types, ranges, classes) ──► prepare ──► canonical frame
//!  file, https, s3,      spooled when      CSV or      one pass                        second pass, written in place,
//!  gs, az                it is not here    Parquet                                     hashed
//! ```
//!
//! Of Parquet that lies elsewhere only the footer and the wanted columns are fetched.
//!
//! A data set is never held in memory: [`Table::scan`] hands out batches of at most [`BATCH_ROWS`] rows, and
//! [`prepare`] writes the frame's columns to a file at their places. What is kept grows with the number of columns, classes
//! and categories only, and each of these has a limit.
//!
//! * [`Location`] and [`Policy`]: what a URI may name. An event may come from anybody, so what `aggregate` reads is
//!   bounded by [`DataArgs`] (`REGROVE_DATA_ALLOW`, `REGROVE_DATA_ROOT`); a person at a terminal may read anything.
//! * [`Table`]: CSV (delimiter, quotes, header, missing values; gzip, zstd) and Parquet (flat columns).
//! * [`survey`]: what the columns are. [`prepare`]: the canonical frame of `regrove-forest`. [`cut`]: the same in parts of
//!   its rows.
//! * [`features`]: rows for a model to predict, batch by batch; [`ResultWriter`] writes what it said, [`publish`] puts that
//!   next to the data set.
//!
//! Columns of numbers are features as they are, truth values become 0 and 1, and columns of texts are encoded by the
//! place of their text in ascending order, as scikit-learn's `OrdinalEncoder` does. The texts are part of the frame, so
//! a model carries them ([`regrove_forest::Categories`]) and predicts from texts.

mod args;
mod bucket;
mod column;
mod csv_table;
mod cut;
mod error;
mod features;
mod fetch;
mod location;
mod parquet_column;
mod parquet_results;
mod parquet_table;
mod pieces;
mod policy;
mod prepare;
mod progress;
mod publish;
mod resolver;
mod results;
mod survey;
mod table;
mod web;

pub use args::{DATA_BYTES_MAX, DataArgs, ROWS_MAX};
pub use column::{Batch, Cell, Cells, Texts, text_feature};
pub use csv_table::is_missing;
pub use cut::{CutPart, FrameHead, cut};
pub use error::Error;
pub use features::{Features, VisitRows, features};
pub use fetch::{Columns, Local, fetch};
pub use location::{Location, Scheme};
pub use policy::Policy;
pub use prepare::{FRAME_LIMIT, Prepared, TargetKind, Wish, prepare};
pub use progress::{Progress, Stage};
pub use publish::publish;
pub use results::{ResultColumn, ResultWriter};
pub use survey::{CATEGORIES_MAX, ColumnKind, ColumnSurvey, Survey, survey};
pub use table::{BATCH_ROWS, COLUMNS_MAX, Format, Limits, Table, Visit};
