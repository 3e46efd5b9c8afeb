//! From text to tokens.

use super::ParseError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, an attribute's or a function's name, as written.
    Word(String),
    /// Digits without a sign, not above 2^31.
    Integer(u32),
    /// A string literal, unescaped.
    Text(String),
    /// An operator, a parenthesis or a comma.
    Symbol(&'static str),
}

/// Longer symbols first.
const SYMBOLS: [&str; 15] = ["!=", "<>", ">=", "<=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

/// Largest magnitude of an integer literal: that of the most negative one.
const MAGNITUDE_MAX: u32 = 1 << 31;

/// All tokens with their positions, in characters counted from 1.
pub(super) fn tokenize(text: &str) -> Result<Vec<(usize, Token)>, ParseError> {
    let mut tokens = Vec::new();
    let (mut rest, mut at) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = if matches!(first, ' ' | '\t' | '\r' | '\n') {
            1
        } else if first == '\'' || first == '"' {
            let (length, text) = read_text(rest, first)
                .ok_or_else(|| ParseError { at, reason: format!("a string is not closed: {first} is missing") })?;
            tokens.push((at, Token::Text(text)));
            length
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let is_word = |found: char| found.is_ascii_alphanumeric() || found == '_';
            let length = rest.find(|found| !is_word(found)).unwrap_or(rest.len());
            tokens.push((at, read_word(&rest[..length]).map_err(|reason| ParseError { at, reason })?));
            length
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push((at, Token::Symbol(symbol)));
            symbol.len()
        } else {
            return Err(ParseError { at, reason: format!("unexpected character `{first}`") });
        };
        let (read, unread) = rest.split_at(length);
        at += read.chars().count();
        rest = unread;
    }
    Ok(tokens)
}

fn read_word(word: &str) -> Result<Token, String> {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Token::Word(word.to_owned()));
    }
    let magnitude = word.parse::<u32>().ok().filter(|magnitude| *magnitude <= MAGNITUDE_MAX);
    magnitude.map(Token::Integer).ok_or_else(|| format!("{word} is out of range: integers have 32 bits"))
}

/// Length in bytes and value of the string literal at the start of `text`. A backslash escapes the delimiter; before
/// any other character it stands for itself, which leaves escapes of `LIKE` patterns alone.
fn read_text(text: &str, delimiter: char) -> Option<(usize, String)> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, found)) = characters.next() {
        if found == delimiter {
            return Some((index + found.len_utf8(), value));
        }
        if found == '\\' {
            let (_, escaped) = characters.next()?;
            if escaped != delimiter {
                value.push(found);
            }
            value.push(escaped);
        } else {
            value.push(found);
        }
    }
    None
}
