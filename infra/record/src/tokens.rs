//! The words of the search language.

use crate::error::Refusal;

/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A bare word or number; an entity before a quoted key ends with its dot.
    Word(String),
    /// A key in backticks.
    Name(String),
    /// A text in single or double quotes.
    Text(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Operator(&'static str),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// Longest first: `<=` is not `<`.
const OPERATORS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];

pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(Refusal::invalid(format!("the filter is longer than {FILTER_BYTES_MAX} bytes")));
    }
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '\'' | '"' | '`' => quoted(rest, first)?,
            _ => match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
                Some(operator) => (Token::Operator(operator), operator.len()),
                None => word(rest)?,
            },
        };
        found.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(found)
}

fn quoted(rest: &str, quote: char) -> Result<(Token, usize), Refusal> {
    let inner = rest.get(1..).unwrap_or_default();
    let end = inner.find(quote).ok_or_else(|| {
        Refusal::invalid(format!("Invalid clause(s) in filter string: '{rest}' (a quote is not closed)"))
    })?;
    let content = inner.get(..end).unwrap_or_default().to_owned();
    let token = if quote == '`' { Token::Name(content) } else { Token::Text(content) };
    Ok((token, end + 2))
}

fn word(rest: &str) -> Result<(Token, usize), Refusal> {
    let end = rest
        .find(|character: char| {
            !(character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '+' | '/' | ':'))
        })
        .unwrap_or(rest.len());
    match rest.get(..end).filter(|word| !word.is_empty()) {
        Some(word) => Ok((Token::Word(word.to_owned()), end)),
        None => Err(Refusal::invalid(format!("Invalid clause(s) in filter string: '{rest}'"))),
    }
}
