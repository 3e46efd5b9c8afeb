//! Patterns of `LIKE`.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// This character.
    Literal(char),
    /// `_`: any one character.
    One,
    /// `%`: any number of characters.
    Many,
}

impl Pattern {
    /// Compiles a pattern; `\%` and `\_` are literal, any other backslash is one.
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(found) = characters.next() {
            let escaped = characters.peek().copied().filter(|next| found == '\\' && matches!(next, '%' | '_'));
            parts.push(match (escaped, found) {
                (Some(literal), _) => {
                    characters.next();
                    Part::Literal(literal)
                }
                (None, '%') => Part::Many,
                (None, '_') => Part::One,
                (None, literal) => Part::Literal(literal),
            });
        }
        parts.dedup_by(|one, other| *one == Part::Many && *other == Part::Many);
        Self { parts }
    }

    /// Whether the whole text fits. Takes at most text length × pattern length steps: after a mismatch only the last
    /// `%` has to be tried with one character more.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while let Some(found) = text.get(at) {
            match self.parts.get(part) {
                Some(Part::Many) => {
                    retry = Some((at, part));
                    part += 1;
                    continue;
                }
                Some(Part::One) => {
                    (at, part) = (at + 1, part + 1);
                    continue;
                }
                Some(Part::Literal(literal)) if literal == found => {
                    (at, part) = (at + 1, part + 1);
                    continue;
                }
                Some(Part::Literal(_)) | None => {}
            }
            let Some((start, many)) = retry else {
                return false;
            };
            retry = Some((start + 1, many));
            (at, part) = (start + 1, many + 1);
        }
        self.parts.iter().skip(part).all(|left| *left == Part::Many)
    }
}
