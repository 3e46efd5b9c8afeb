//! The canonical bytes of a frame: one data set, one byte string, one SHA-256.
//!
//! ```text
//! 0   8  magic "RGFRAME\0"          8  4  version, u32          12  4  target kind: 0 classes, 1 values
//! 16  8  n_samples, u64            24  8  n_features, u64       32  8  length of the names, u64
//! 40 24  zero
//! 64     names: JSON {"features": […], "target": "…", "classes": […]}, and "categories" by feature if there are any,
//!        and "sample_weight": true if rows have weights
//! then, each at a multiple of 64: the columns (float32), the target (u32 class indexes or float64), the weights (float64)
//! ```
//!
//! Everything is little-endian; the gaps are zero.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Categories, Frame, FrameError, Label, Target};
use crate::Error;

const MAGIC: [u8; 8] = *b"RGFRAME\0";
/// Version written; older ones stay readable.
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;
const HEADER_LEN: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    features: Vec<String>,
    target: String,
    classes: Vec<Label>,
    #[serde(default, skip_serializing_if = "Categories::is_empty")]
    categories: Categories,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sample_weight: bool,
}

/// Where the parts of a canonical frame stand, for those who write one without having it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLayout {
    head: Vec<u8>,
    n_samples: u64,
    n_features: u64,
    target_bytes: u64,
    sample_weight: bool,
}

impl FrameLayout {
    /// The layout of a frame of these columns. `classes` are those of a classification target, `None` means numbers;
    /// `sample_weight` says whether rows have weights.
    ///
    /// # Errors
    ///
    /// Names that cannot be written as JSON (does not happen for valid text).
    pub fn new(
        n_samples: u64,
        feature_names: &[String],
        target_name: &str,
        classes: Option<&[Label]>,
        categories: &Categories,
        sample_weight: bool,
    ) -> Result<Self, FrameError> {
        let names = Names {
            features: feature_names.to_vec(),
            target: target_name.to_owned(),
            classes: classes.unwrap_or_default().to_vec(),
            categories: categories.clone(),
            sample_weight,
        };
        let names = serde_json::to_vec(&names).map_err(|_| FrameError::Canonical("names cannot be written"))?;
        let n_features = feature_names.len() as u64;
        let mut head = Vec::with_capacity(HEADER_LEN + names.len());
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(u32::from(classes.is_none()).to_le_bytes());
        for count in [n_samples, n_features, names.len() as u64] {
            head.extend(count.to_le_bytes());
        }
        head.resize(HEADER_LEN, 0);
        head.extend(names);
        let target_bytes = n_samples * if classes.is_some() { size_of::<u32>() } else { size_of::<f64>() } as u64;
        Ok(Self { head, n_samples, n_features, target_bytes, sample_weight })
    }

    /// The bytes at place 0.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Where the float32 values of a feature begin; gaps before them are zero.
    pub fn column(&self, feature: u64) -> u64 {
        let column = (self.n_samples * size_of::<f32>() as u64).next_multiple_of(ALIGNMENT as u64);
        (self.head.len() as u64).next_multiple_of(ALIGNMENT as u64) + feature * column
    }

    /// Where the target begins: u32 class indexes, or float64 numbers.
    pub fn target(&self) -> u64 {
        self.column(self.n_features)
    }

    /// Where the float64 weights of the rows begin, if they have any.
    pub fn sample_weight(&self) -> Option<u64> {
        self.sample_weight.then(|| (self.target() + self.target_bytes).next_multiple_of(ALIGNMENT as u64))
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        let weighted = self.sample_weight().map(|start| start + self.n_samples * size_of::<f64>() as u64);
        weighted.unwrap_or_else(|| self.target() + self.target_bytes)
    }
}

impl Frame {
    /// The canonical little-endian form, columns aligned to 64 bytes.
    ///
    /// # Errors
    ///
    /// Names that cannot be written as JSON (does not happen for valid text).
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(2 * HEADER_LEN + self.columns.len() * 4 + self.n_samples() * 8);
        self.write(|part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// Hands out the canonical form in parts, so that nobody needs a second copy of the data.
    fn write(&self, mut sink: impl FnMut(&[u8])) -> Result<(), Error> {
        let classes = matches!(self.target, Target::Classes { .. }).then(|| self.classes());
        let layout = FrameLayout::new(
            self.n_samples() as u64,
            &self.feature_names,
            &self.target_name,
            classes,
            &self.categories,
            self.sample_weight.is_some(),
        )?;
        let mut written = 0;
        let mut put = |part: &[u8]| {
            sink(&[0; ALIGNMENT][..padding(written)]);
            sink(part);
            written = written.next_multiple_of(ALIGNMENT) + part.len();
        };
        put(layout.head());
        for column in self.columns.chunks_exact(self.n_samples()) {
            put(bytemuck::cast_slice(column));
        }
        match &self.target {
            Target::Classes { indexes, .. } => put(bytemuck::cast_slice(indexes)),
            Target::Values(values) => put(bytemuck::cast_slice(values)),
        }
        if let Some(weights) = &self.sample_weight {
            put(bytemuck::cast_slice(weights));
        }
        Ok(())
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    ///
    /// Bytes that are cut, longer than they say, of another kind or version, or that hold an impossible frame.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(8)? != MAGIC {
            return Err(FrameError::Canonical("the magic number is missing").into());
        }
        if reader.u32()? != VERSION {
            return Err(FrameError::Canonical("unknown version").into());
        }
        let kind = reader.u32()?;
        let (n_samples, n_features, names_len) = (reader.len()?, reader.len()?, reader.len()?);
        reader.skip_zeros(HEADER_LEN)?;
        let names: Names =
            serde_json::from_slice(reader.take(names_len)?).map_err(|_| FrameError::Canonical("bad names"))?;
        if names.features.len() != n_features {
            return Err(FrameError::Canonical("the names do not fit the columns").into());
        }
        // Checked before anything is allocated for it.
        if n_samples.saturating_mul(n_features).saturating_mul(4) > bytes.len() {
            return Err(FrameError::Canonical("cut short").into());
        }
        let mut columns = Vec::with_capacity(n_samples * n_features);
        for _ in 0..n_features {
            reader.align()?;
            columns.extend(numbers::<f32, 4>(reader.take(n_samples * 4)?, f32::from_le_bytes));
        }
        reader.align()?;
        let target = match kind {
            0 => Target::Classes {
                classes: names.classes,
                indexes: numbers::<u32, 4>(reader.take(n_samples * 4)?, u32::from_le_bytes).collect(),
            },
            1 => Target::Values(reader.doubles(n_samples)?),
            _ => return Err(FrameError::Canonical("unknown target kind").into()),
        };
        let sample_weight = if names.sample_weight {
            reader.align()?;
            Some(reader.doubles(n_samples)?)
        } else {
            None
        };
        if reader.at != bytes.len() {
            return Err(FrameError::Canonical("bytes after the end").into());
        }
        let frame = Self::new(names.features, columns, &names.target, target)?.with_categories(names.categories)?;
        Ok(match sample_weight {
            Some(weights) => frame.with_sample_weight(weights)?,
            None => frame,
        })
    }

    /// SHA-256 of the canonical form, 64 hexadecimal digits: the data set's identity. It is computed once per frame.
    ///
    /// # Errors
    ///
    /// As [`Frame::to_bytes`].
    pub fn sha256(&self) -> Result<String, Error> {
        if let Some(known) = self.identity.0.get() {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new();
        self.write(|part| hasher.update(part))?;
        Ok(self.identity.0.get_or_init(|| hex(&hasher.finalize())).clone())
    }
}

/// Lower-case hexadecimal digits of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Zeros needed after `len` bytes to reach the next place where a part may begin.
fn padding(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT) - len
}

fn numbers<'a, T: 'a, const N: usize>(bytes: &'a [u8], read: fn([u8; N]) -> T) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| read(*chunk))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(FrameError::Canonical("cut short"))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(word))
    }

    fn len(&mut self) -> Result<usize, FrameError> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| FrameError::Canonical("impossible length"))
    }

    fn doubles(&mut self, n: usize) -> Result<Vec<f64>, FrameError> {
        Ok(numbers::<f64, 8>(self.take(n.saturating_mul(8))?, f64::from_le_bytes).collect())
    }

    fn skip_zeros(&mut self, to: usize) -> Result<(), FrameError> {
        if self.take(to - self.at)?.iter().any(|byte| *byte != 0) {
            return Err(FrameError::Canonical("a gap is not zero"));
        }
        Ok(())
    }

    fn align(&mut self) -> Result<(), FrameError> {
        self.skip_zeros(self.at.next_multiple_of(ALIGNMENT))
    }
}
