//! From tokens to a tree, by precedence climbing.

use super::function::Function;
use super::lexer::{Token, tokenize};
use super::pattern::Pattern;
use super::{EXPRESSION_DEPTH_MAX, ParseError, Value};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Literal(Value),
    /// An attribute, its name in lower case.
    Attribute(String),
    Exists(String),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Like {
        operand: Box<Node>,
        negated: bool,
        pattern: Pattern,
    },
    In {
        operand: Box<Node>,
        negated: bool,
        set: Vec<Node>,
    },
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Xor,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Operators with their precedence, a higher one binding more tightly.
const OPERATORS: [(&str, Operator, u8); 15] = [
    ("OR", Operator::Or, 1),
    ("XOR", Operator::Xor, 1),
    ("AND", Operator::And, 2),
    ("=", Operator::Equal, 3),
    ("!=", Operator::Unequal, 3),
    ("<>", Operator::Unequal, 3),
    ("<", Operator::Less, 3),
    ("<=", Operator::LessOrEqual, 3),
    (">", Operator::Greater, 3),
    (">=", Operator::GreaterOrEqual, 3),
    ("+", Operator::Add, 4),
    ("-", Operator::Subtract, 4),
    ("*", Operator::Multiply, 5),
    ("/", Operator::Divide, 5),
    ("%", Operator::Remainder, 5),
];

/// Words that cannot be attributes or functions.
const KEYWORDS: [&str; 9] = ["AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"];

/// A tree with its height, which the parser keeps within bounds so that nothing that walks it can overflow the stack.
struct Tree {
    node: Node,
    height: usize,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    /// Position after the last character.
    end: usize,
    /// Expressions that are open at the moment.
    open: usize,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser { tokens, next: 0, end: text.chars().count() + 1, open: 0 };
    let tree = parser.expression(0)?;
    if parser.next < parser.tokens.len() {
        return Err(parser.fault("expected an operator or the end"));
    }
    Ok(tree.node)
}

impl Parser {
    fn fault(&self, reason: impl Into<String>) -> ParseError {
        let at = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        ParseError { at, reason: reason.into() }
    }

    fn tree(&self, node: Node, below: usize) -> Result<Tree, ParseError> {
        if below >= EXPRESSION_DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {EXPRESSION_DEPTH_MAX} levels")));
        }
        Ok(Tree { node, height: below + 1 })
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.next + ahead).map(|(_, token)| token)
    }

    /// Whether the token `ahead` is this keyword, in upper case, or this symbol.
    fn is(&self, ahead: usize, wanted: &str) -> bool {
        match self.token(ahead) {
            Some(Token::Word(word)) => word.eq_ignore_ascii_case(wanted),
            Some(Token::Symbol(symbol)) => *symbol == wanted,
            Some(Token::Integer(_) | Token::Text(_)) | None => false,
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.is(0, wanted);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), ParseError> {
        if self.take(wanted) { Ok(()) } else { Err(self.fault(format!("expected `{wanted}`"))) }
    }

    /// An expression whose operators all bind at least as tightly as `precedence_min`.
    fn expression(&mut self, precedence_min: u8) -> Result<Tree, ParseError> {
        self.open += 1;
        if self.open > EXPRESSION_DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {EXPRESSION_DEPTH_MAX} levels")));
        }
        let mut left = self.unary()?;
        loop {
            // LIKE and IN bind more tightly than all other binary operators, so none can stand in `left` yet.
            if let Some(negated) = self.membership() {
                left = self.finish_membership(left, negated)?;
                continue;
            }
            let operator =
                OPERATORS.iter().find(|(symbol, _, precedence)| *precedence >= precedence_min && self.is(0, symbol));
            let Some((_, operator, precedence)) = operator else {
                break;
            };
            self.next += 1;
            // AND, OR and XOR lean to the right in the grammar, all others to the left.
            let right = self.expression(if *precedence <= 2 { *precedence } else { precedence + 1 })?;
            let below = left.height.max(right.height);
            left = self.tree(Node::Binary(*operator, Box::new(left.node), Box::new(right.node)), below)?;
        }
        self.open -= 1;
        Ok(left)
    }

    /// Whether `LIKE` or `IN` follows, and if so, whether with a `NOT` in front.
    fn membership(&self) -> Option<bool> {
        let negated = self.is(0, "NOT");
        let ahead = usize::from(negated);
        (self.is(ahead, "LIKE") || self.is(ahead, "IN")).then_some(negated)
    }

    fn finish_membership(&mut self, left: Tree, negated: bool) -> Result<Tree, ParseError> {
        self.next += usize::from(negated);
        let operand = Box::new(left.node);
        if self.take("LIKE") {
            let Some(Token::Text(pattern)) = self.token(0) else {
                return Err(self.fault("expected a string: the pattern of LIKE"));
            };
            let pattern = Pattern::new(pattern);
            self.next += 1;
            return self.tree(Node::Like { operand, negated, pattern }, left.height);
        }
        self.expect("IN")?;
        self.expect("(")?;
        let (set, height) = self.list()?;
        if set.is_empty() {
            return Err(self.fault("IN needs at least one element"));
        }
        self.tree(Node::In { operand, negated, set }, left.height.max(height))
    }

    /// Expressions up to the closing parenthesis, which is read as well, and the greatest height among them.
    fn list(&mut self) -> Result<(Vec<Node>, usize), ParseError> {
        let mut items = Vec::new();
        let mut height = 0;
        if self.take(")") {
            return Ok((items, height));
        }
        loop {
            let item = self.expression(0)?;
            height = height.max(item.height);
            items.push(item.node);
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok((items, height))
    }

    fn unary(&mut self) -> Result<Tree, ParseError> {
        // Every operator opens a level, so that a row of them cannot recurse without bound.
        self.open += 1;
        if self.open > EXPRESSION_DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {EXPRESSION_DEPTH_MAX} levels")));
        }
        let tree = if self.take("NOT") {
            let operand = self.unary()?;
            self.tree(Node::Not(Box::new(operand.node)), operand.height)
        } else if self.take("-") {
            // The most negative integer has no positive counterpart, so the sign belongs to the literal.
            if let Some(Token::Integer(magnitude)) = self.token(0) {
                let literal = 0_i32.wrapping_sub_unsigned(*magnitude);
                self.next += 1;
                self.tree(Node::Literal(Value::Integer(literal)), 0)
            } else {
                let operand = self.unary()?;
                self.tree(Node::Negate(Box::new(operand.node)), operand.height)
            }
        } else {
            self.primary()
        };
        self.open -= 1;
        tree
    }

    fn primary(&mut self) -> Result<Tree, ParseError> {
        if self.take("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take("EXISTS") {
            let name = self.attribute()?;
            return self.tree(Node::Exists(name), 0);
        }
        for (word, truth) in [("TRUE", true), ("FALSE", false)] {
            if self.take(word) {
                return self.tree(Node::Literal(Value::Boolean(truth)), 0);
            }
        }
        let node = match self.token(0).cloned() {
            Some(Token::Integer(magnitude)) => {
                let number = i32::try_from(magnitude)
                    .map_err(|_| self.fault(format!("{magnitude} is out of range: integers have 32 bits")))?;
                self.next += 1;
                Node::Literal(Value::Integer(number))
            }
            Some(Token::Text(text)) => {
                self.next += 1;
                Node::Literal(Value::String(text))
            }
            Some(Token::Word(name)) if self.is(1, "(") => return self.call(&name),
            Some(Token::Word(_)) => Node::Attribute(self.attribute()?),
            Some(Token::Symbol(_)) | None => return Err(self.fault("expected a value")),
        };
        self.tree(node, 0)
    }

    fn call(&mut self, name: &str) -> Result<Tree, ParseError> {
        let fits = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && !name.contains(|found: char| found.is_ascii_digit())
            && !is_keyword(name);
        if !fits {
            return Err(self.fault(format!("`{name}` is no function's name")));
        }
        self.next += 1;
        self.expect("(")?;
        let (arguments, height) = self.list()?;
        self.tree(Node::Call(Function::find(name, arguments.len()), arguments), height)
    }

    fn attribute(&mut self) -> Result<String, ParseError> {
        match self.token(0).cloned() {
            Some(Token::Word(name)) if !name.contains('_') && !is_keyword(&name) => {
                self.next += 1;
                Ok(name.to_ascii_lowercase())
            }
            _ => Err(self.fault("expected an attribute's name")),
        }
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}
