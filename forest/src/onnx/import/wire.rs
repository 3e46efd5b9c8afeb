//! Protocol buffers as they lie in the bytes: field by field, nothing copied, nothing allocated.
//!
//! A decoder that builds all messages first would let two bytes of a file claim a hundred bytes of memory.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::error::{ImportError, malformed};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    pub(super) content: Content<'a>,
}

impl<'a> Field<'a> {
    /// The bytes of a string, a submessage or packed numbers.
    pub(super) fn bytes(&self) -> Result<&'a [u8], ImportError> {
        match self.content {
            Content::Bytes(bytes) => Ok(bytes),
            _ => malformed(format_args!("field {} has the wrong wire type", self.tag)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, ImportError> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text),
            Err(_) => malformed(format_args!("field {} is not UTF-8", self.tag)),
        }
    }

    #[expect(clippy::cast_possible_wrap, reason = "protobuf's int64 are two's complement varints")]
    pub(super) fn int(&self) -> Result<i64, ImportError> {
        match self.content {
            Content::Varint(number) => Ok(number as i64),
            _ => malformed(format_args!("field {} has the wrong wire type", self.tag)),
        }
    }

    /// Appends an `int32` or `int64` field, packed or not.
    pub(super) fn ints(&self, into: &mut Vec<i64>, max: usize) -> Result<(), ImportError> {
        if let Content::Varint(_) = self.content {
            return push(into, self.int()?, max);
        }
        let mut bytes = self.bytes()?;
        while !bytes.is_empty() {
            push(into, varint(&mut bytes)?.cast_signed(), max)?;
        }
        Ok(())
    }

    /// Appends a `float` field, packed or not.
    pub(super) fn floats(&self, into: &mut Vec<f64>, max: usize) -> Result<(), ImportError> {
        if let Content::Fixed32(bits) = self.content {
            return push(into, f64::from(f32::from_bits(bits)), max);
        }
        let (numbers, rest) = self.bytes()?.as_chunks::<4>();
        whole(rest)?;
        numbers.iter().try_for_each(|number| push(into, f64::from(f32::from_le_bytes(*number)), max))
    }

    /// Appends a `double` field, packed or not.
    pub(super) fn doubles(&self, into: &mut Vec<f64>, max: usize) -> Result<(), ImportError> {
        if let Content::Fixed64(bits) = self.content {
            return push(into, f64::from_bits(bits), max);
        }
        let (numbers, rest) = self.bytes()?.as_chunks::<8>();
        whole(rest)?;
        numbers.iter().try_for_each(|number| push(into, f64::from_le_bytes(*number), max))
    }
}

/// Appends, unless there would be more than `max`.
pub(super) fn push<T>(into: &mut Vec<T>, item: T, max: usize) -> Result<(), ImportError> {
    if into.len() >= max {
        return Err(ImportError::TooMany { what: "elements of one attribute or tensor", max });
    }
    into.push(item);
    Ok(())
}

fn whole(rest: &[u8]) -> Result<(), ImportError> {
    if rest.is_empty() { Ok(()) } else { malformed("packed numbers are cut") }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ImportError> {
    decode_varint(bytes).or_else(|_| malformed("a number is cut or too long"))
}

/// The fields of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ImportError> {
        match self.0.split_at_checked(len) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => malformed("it is cut short"),
        }
    }

    fn field(&mut self) -> Result<Field<'a>, ImportError> {
        let (tag, wire) = decode_key(&mut self.0).or_else(|_| malformed("a field has no valid key"))?;
        let mut eight = [0; 8];
        let mut four = [0; 4];
        let content = match wire {
            WireType::Varint => Content::Varint(varint(&mut self.0)?),
            WireType::ThirtyTwoBit => {
                four.copy_from_slice(self.take(4)?);
                Content::Fixed32(u32::from_le_bytes(four))
            }
            WireType::SixtyFourBit => {
                eight.copy_from_slice(self.take(8)?);
                Content::Fixed64(u64::from_le_bytes(eight))
            }
            WireType::LengthDelimited => {
                let len = varint(&mut self.0)?;
                Content::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            WireType::StartGroup | WireType::EndGroup => return malformed("it holds a group"),
        };
        Ok(Field { tag, content })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // Nothing that follows can be trusted to be a field.
            self.0 = &[];
        }
        Some(field)
    }
}
