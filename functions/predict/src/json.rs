//! Reads JSON in one pass, straight into what it means: no tree of values between the bytes and the kernel.
//!
//! Strict as RFC 8259 has it: no NaN, no trailing comma, no second member of the same name, not even in what is ignored.
//! Nothing recurses, so nothing can be nested too deep for the stack.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::refusal::Stop;

/// Deepest nesting of what is skipped.
const DEPTH_MAX: usize = 128;
/// Members of an object whose names are compared one by one; beyond them a set is kept.
const FEW_NAMES: usize = 16;

/// Where the text stops being JSON of the expected shape.
pub(crate) type Read<T> = Result<T, Stop>;

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What a value is, by its first character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// With its article, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "a list",
            Self::Object => "an object",
        }
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes of the whole text.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The text from a place that was read before up to here.
    pub(crate) fn since(&self, position: usize) -> &'a str {
        self.text.get(position..self.at).unwrap_or_default()
    }

    /// A scanner of the same text at a place that was read before.
    pub(crate) fn at(&self, position: usize) -> Self {
        Self { text: self.text, at: position }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Read<T> {
        Err(Stop::Malformed { at: self.at, expected })
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Read<()> {
        if self.peek() != Some(byte) {
            return self.wrong(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// What kind of value comes next.
    pub(crate) fn kind(&mut self) -> Read<Kind> {
        Ok(match self.peek() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => return self.wrong("a value"),
        })
    }

    /// Nothing but white space follows.
    pub(crate) fn end(&mut self) -> Read<()> {
        if self.peek().is_some() { self.wrong("nothing after the value") } else { Ok(()) }
    }

    /// A number, rounded to the nearest float64; infinite beyond its range.
    pub(crate) fn number(&mut self) -> Read<f64> {
        self.peek();
        let start = self.at;
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        let mut digits = Digits::default();
        let leading_zero = self.byte() == Some(b'0');
        let whole = self.digits(&mut digits);
        if whole == 0 || (leading_zero && whole > 1) {
            return self.wrong("a number");
        }
        let mut exponent = 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            let places = self.digits(&mut digits);
            if places == 0 {
                return self.wrong("a digit after the point");
            }
            exponent = -i32::try_from(places).unwrap_or(i32::MAX);
        }
        let mut exact = digits.exact();
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits(&mut Digits::default()) == 0 {
                return self.wrong("a digit in the exponent");
            }
            exact = None;
        }
        // Both are exact float64 then, and the quotient is rounded once: Clinger 1990, "How to read floating point
        // numbers accurately".
        if let (Some(mantissa), Some(scale)) = (exact, POWERS_OF_TEN.get(exponent.unsigned_abs() as usize)) {
            let value = mantissa / scale;
            return Ok(if negative { -value } else { value });
        }
        self.text[start..self.at].parse().or_else(|_| self.wrong("a number"))
    }

    fn digits(&mut self, digits: &mut Digits) -> usize {
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            digits.push(byte - b'0');
            self.at += 1;
        }
        self.at - start
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Read<Cow<'a, str>> {
        self.take(b'"', "a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=31) | None => return self.wrong("the string's end"),
                Some(_) => self.at += 1,
            }
        }
        let (start, end) = (start, self.at);
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        // Escapes are rare; their rules are serde_json's.
        serde_json::from_str::<String>(&self.text[start - 1..=end]).map(Cow::Owned).or_else(|_| {
            self.at = start;
            self.wrong("an escape of JSON")
        })
    }

    fn word(&mut self, word: &'static str) -> Read<()> {
        self.peek();
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.wrong("a value")
    }

    /// `null`.
    pub(crate) fn null(&mut self) -> Read<()> {
        self.word("null")
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Read<bool> {
        if self.peek() == Some(b't') {
            return self.word("true").map(|()| true);
        }
        self.word("false").map(|()| false)
    }

    /// A list: `each` reads one item and is told its index.
    pub(crate) fn array(&mut self, mut each: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<usize> {
        self.take(b'[', "a list")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(0);
        }
        let mut index = 0;
        loop {
            each(self, index)?;
            index += 1;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(index);
                }
                _ => return self.wrong("`,` or `]`"),
            }
        }
    }

    /// An object: `each` reads one member's value and is told its name. A name that comes twice is refused.
    pub(crate) fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        self.take(b'{', "an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut names = Names::default();
        loop {
            let name = self.member(&mut names)?;
            each(self, &name)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("`,` or `}`"),
            }
        }
    }

    /// Reads past a value of any kind.
    pub(crate) fn skip(&mut self) -> Read<()> {
        let mut open: Vec<Open<'a>> = Vec::new();
        loop {
            match self.kind()? {
                Kind::Null => self.null()?,
                Kind::Boolean => self.boolean().map(drop)?,
                Kind::Number => self.number().map(drop)?,
                Kind::String => self.string().map(drop)?,
                Kind::Array | Kind::Object => {
                    if open.len() == DEPTH_MAX {
                        return Err(Stop::TooDeep { at: self.at, max: DEPTH_MAX });
                    }
                    if self.enter(&mut open)? {
                        continue;
                    }
                }
            }
            if self.leave(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Goes into a list or object; `false` when it is empty and already behind.
    fn enter(&mut self, open: &mut Vec<Open<'a>>) -> Read<bool> {
        let mut names = (self.byte() == Some(b'{')).then(Names::default);
        let close = if names.is_some() { b'}' } else { b']' };
        self.at += 1;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if let Some(names) = &mut names {
            self.member(names)?;
        }
        open.push(Open { close, names });
        Ok(true)
    }

    /// After a value: goes on to the next one, or out of what ends here. `true` when nothing is open any more.
    fn leave(&mut self, open: &mut Vec<Open<'a>>) -> Read<bool> {
        while let Some(Open { close, names }) = open.last_mut() {
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if let Some(names) = names {
                        self.member(names)?;
                    }
                    return Ok(false);
                }
                Some(byte) if byte == *close => {
                    self.at += 1;
                    open.pop();
                }
                _ => return self.wrong("`,` or the end of the list or object"),
            }
        }
        Ok(true)
    }

    /// A member's name, which the object must not have yet.
    fn member(&mut self, names: &mut Names<'a>) -> Read<Cow<'a, str>> {
        self.peek();
        let at = self.at;
        let name = self.string()?;
        if !names.insert(name.clone()) {
            return Err(Stop::Duplicate { at, name: name.into_owned() });
        }
        self.take(b':', "`:`")?;
        Ok(name)
    }
}

/// A list or object that is being skipped.
struct Open<'a> {
    close: u8,
    /// None for a list.
    names: Option<Names<'a>>,
}

/// Names seen in one object; copied only where they have escapes.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: BTreeSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// `false` when the name was there.
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if self.few.len() < FEW_NAMES && self.many.is_empty() {
            let new = !self.few.contains(&name);
            self.few.push(name);
            return new;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(name)
    }
}

/// Powers of ten that float64 holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// The digits of a number without its point, as long as they are few.
#[derive(Default)]
struct Digits {
    mantissa: u64,
    count: usize,
}

impl Digits {
    /// Digits that float64 surely holds exactly.
    const EXACT: usize = 15;

    fn push(&mut self, digit: u8) {
        self.mantissa = self.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        self.count += 1;
    }

    #[expect(clippy::cast_precision_loss, reason = "fifteen digits are below 2^53")]
    fn exact(&self) -> Option<f64> {
        (self.count <= Self::EXACT).then_some(self.mantissa as f64)
    }
}

#[cfg(test)]
mod tests;
