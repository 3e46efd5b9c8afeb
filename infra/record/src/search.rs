//! MLflow's search language: `attributes.status = 'RUNNING' AND tags.`regrove.job` = 'j1'`, turned into SQL with bound
//! values.

use rusqlite::types::Value as Sql;
use rusqlite::{Row, Transaction};

use crate::error::Refusal;
use crate::request::Page;
use crate::tokens::{Token, tokens};

/// Most conditions in one filter.
const CONDITIONS_MAX: usize = 100;

/// What can be searched, and where it is in the database.
#[derive(Debug)]
pub(crate) struct Searchable {
    /// Attribute names with their SQL expressions.
    pub(crate) attributes: &'static [(&'static str, &'static str)],
    /// SQL expression that identifies an item, compared with `owner` of the tables below.
    pub(crate) owner: &'static str,
    /// Table of tags.
    pub(crate) tags: &'static str,
    /// Table of parameters.
    pub(crate) params: Option<&'static str>,
    /// Whether `metrics.x` can be used: the last point per key and run.
    pub(crate) metrics: bool,
    /// Whether `!=` also holds for items that lack the tag (the registry's rule).
    pub(crate) absent_differs: bool,
}

/// A condition in SQL with its bound values.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) values: Vec<Sql>,
}

impl Condition {
    /// Adds a condition that must hold too.
    pub(crate) fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Sql>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(sql);
        self.values.extend(values);
    }
}

/// The rows of a table that fit, one page of them and one more.
pub(crate) fn select<T>(
    tx: &Transaction<'_>,
    table: &str,
    condition: Condition,
    order: Condition,
    page: Page,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Refusal> {
    let wanted = if condition.sql.is_empty() { "1" } else { &condition.sql };
    let sql = format!(
        "SELECT * FROM {table} WHERE {wanted} ORDER BY {} LIMIT {} OFFSET {}",
        order.sql,
        page.rows(),
        page.offset
    );
    let mut statement = tx.prepare(&sql)?;
    let values = rusqlite::params_from_iter(condition.values.into_iter().chain(order.values));
    let rows = statement.query_map(values, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Attribute,
    Tag,
    Param,
    Metric,
}

impl Searchable {
    /// The filter as SQL; empty for an empty filter.
    ///
    /// # Errors
    /// 400 for what is not in the language, and for unknown attributes.
    pub(crate) fn filter(&self, text: &str) -> Result<Condition, Refusal> {
        let mut condition = Condition::default();
        let all = tokens(text)?;
        if all.is_empty() {
            return Ok(condition);
        }
        let mut parser = Parser { tokens: &all, position: 0, text };
        for _ in 0..CONDITIONS_MAX {
            let (sql, values) = self.comparison(&mut parser)?;
            condition.and(&sql, values);
            match parser.next() {
                None => return Ok(condition),
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("and") => {}
                Some(_) => return Err(parser.invalid()),
            }
        }
        Err(Refusal::invalid(format!("the filter has more than {CONDITIONS_MAX} conditions")))
    }

    /// `ORDER BY` without the words; `default` comes last and settles ties.
    ///
    /// # Errors
    /// 400 for unknown attributes and other words than `ASC` and `DESC`.
    pub(crate) fn order(&self, orders: &[String], default: &str) -> Result<Condition, Refusal> {
        let mut sql = String::new();
        let mut values = Vec::new();
        for text in orders {
            let all = tokens(text)?;
            let mut parser = Parser { tokens: &all, position: 0, text };
            let (kind, key) = parser.identifier()?;
            let (expression, bound) = self.expression(kind, &key)?;
            let direction = match parser.next() {
                None => "ASC",
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("asc") => "ASC",
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("desc") => "DESC",
                Some(_) => return Err(parser.invalid()),
            };
            sql.extend([expression.as_str(), " ", direction, " NULLS LAST, "]);
            values.extend(bound);
        }
        sql.push_str(default);
        Ok(Condition { sql, values })
    }

    fn comparison(&self, parser: &mut Parser<'_>) -> Result<(String, Vec<Sql>), Refusal> {
        let (kind, key) = parser.identifier()?;
        let (expression, mut values) = self.expression(kind, &key)?;
        let operator = parser.operator()?;
        let sql = match operator.as_str() {
            "IS NULL" | "IS NOT NULL" => format!("{expression} {operator}"),
            "IN" | "NOT IN" => {
                let list = parser.list()?;
                let places = vec!["?"; list.len()].join(", ");
                values.extend(list);
                format!("{expression} {operator} ({places})")
            }
            "ILIKE" => {
                values.push(parser.value(kind)?);
                format!("lower({expression}) LIKE lower(?)")
            }
            "!=" if kind == Kind::Tag && self.absent_differs => {
                values.push(parser.value(kind)?);
                format!("{expression} IS NOT ?")
            }
            other => {
                values.push(parser.value(kind)?);
                format!("{expression} {other} ?")
            }
        };
        Ok((sql, values))
    }

    /// A key as an SQL expression that is NULL when the item lacks it.
    fn expression(&self, kind: Kind, key: &str) -> Result<(String, Vec<Sql>), Refusal> {
        let owned = |table: &str| {
            let sql = format!("(SELECT value FROM {table} WHERE owner = {} AND key = ?)", self.owner);
            (sql, vec![Sql::Text(key.to_owned())])
        };
        let unsupported = |what: &str| Refusal::invalid(format!("{what} cannot be searched for here"));
        match kind {
            Kind::Tag => Ok(owned(self.tags)),
            Kind::Param => self.params.map(owned).ok_or_else(|| unsupported("params")),
            Kind::Metric if self.metrics => {
                let sql = format!(
                    "(SELECT CASE WHEN is_nan THEN NULL ELSE value END FROM metrics WHERE run_id = {} AND key = ? \
                     ORDER BY step DESC, timestamp DESC, value DESC LIMIT 1)",
                    self.owner
                );
                Ok((sql, vec![Sql::Text(key.to_owned())]))
            }
            Kind::Metric => Err(unsupported("metrics")),
            Kind::Attribute => {
                let found = self.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
                found.map(|(_, column)| ((*column).to_owned(), Vec::new())).ok_or_else(|| {
                    let known: Vec<&str> = self.attributes.iter().map(|(name, _)| *name).collect();
                    Refusal::invalid(format!(
                        "Invalid attribute key '{key}' specified. Valid keys are '{}'",
                        known.join("', '")
                    ))
                })
            }
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    position: usize,
    text: &'a str,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).cloned();
        self.position += 1;
        token
    }

    fn invalid(&self) -> Refusal {
        Refusal::invalid(format!("Invalid clause(s) in filter string: '{}'", self.text))
    }

    /// An entity with its key, bare or quoted: `metrics.m`, `attributes.status`, or only `status`.
    fn identifier(&mut self) -> Result<(Kind, String), Refusal> {
        let Some(Token::Word(word)) = self.next() else { return Err(self.invalid()) };
        let Some((entity, key)) = word.split_once('.') else { return Ok((Kind::Attribute, word)) };
        let kind = match entity.to_ascii_lowercase().as_str() {
            "tag" | "tags" => Kind::Tag,
            "param" | "params" | "parameter" | "parameters" => Kind::Param,
            "metric" | "metrics" => Kind::Metric,
            "attribute" | "attributes" | "attr" | "run" => Kind::Attribute,
            _ => return Err(Refusal::invalid(format!("Invalid entity type '{entity}' in '{}'", self.text))),
        };
        if !key.is_empty() {
            return Ok((kind, key.to_owned()));
        }
        match self.next() {
            Some(Token::Name(name) | Token::Text(name)) => Ok((kind, name)),
            _ => Err(self.invalid()),
        }
    }

    fn operator(&mut self) -> Result<String, Refusal> {
        let word = match self.next() {
            Some(Token::Operator(operator)) => return Ok(operator.to_owned()),
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => return Err(self.invalid()),
        };
        match word.as_str() {
            "LIKE" | "ILIKE" | "IN" => Ok(word),
            "NOT" => self.keyword("IN").map(|()| "NOT IN".to_owned()),
            "IS" => match self.next() {
                Some(Token::Word(next)) if next.eq_ignore_ascii_case("null") => Ok("IS NULL".to_owned()),
                Some(Token::Word(next)) if next.eq_ignore_ascii_case("not") => {
                    self.keyword("NULL").map(|()| "IS NOT NULL".to_owned())
                }
                _ => Err(self.invalid()),
            },
            _ => Err(self.invalid()),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Refusal> {
        match self.next() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword) => Ok(()),
            _ => Err(self.invalid()),
        }
    }

    fn value(&mut self, kind: Kind) -> Result<Sql, Refusal> {
        match (self.next(), kind) {
            (Some(Token::Text(text)), Kind::Metric) => {
                text.parse().map(Sql::Real).map_err(|_| Refusal::invalid("a metric is compared with a number"))
            }
            (Some(Token::Text(text)), _) => Ok(Sql::Text(text)),
            (Some(Token::Word(word)), Kind::Attribute | Kind::Metric) => match word.parse::<i64>() {
                Ok(whole) => Ok(Sql::Integer(whole)),
                Err(_) => word.parse().map(Sql::Real).map_err(|_| self.invalid()),
            },
            (Some(Token::Word(_)), Kind::Tag | Kind::Param) => {
                Err(Refusal::invalid("Expected a quoted string value for tags and params (e.g. 'my-value')"))
            }
            _ => Err(self.invalid()),
        }
    }

    fn list(&mut self) -> Result<Vec<Sql>, Refusal> {
        let mut values = Vec::new();
        if self.next() != Some(Token::Open) {
            return Err(self.invalid());
        }
        loop {
            match self.next() {
                Some(Token::Text(text)) => values.push(Sql::Text(text)),
                Some(Token::Word(word)) => values.push(Sql::Integer(word.parse().map_err(|_| self.invalid())?)),
                _ => return Err(self.invalid()),
            }
            match self.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(values),
                _ => return Err(self.invalid()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Searchable = Searchable {
        attributes: &[("status", "runs.status"), ("start_time", "runs.start_time")],
        owner: "runs.run_id",
        tags: "run_tags",
        params: Some("run_params"),
        metrics: true,
        absent_differs: false,
    };

    #[test]
    fn values_are_bound_and_never_part_of_the_sql() {
        let condition = RUNS.filter("tags.`regrove.job` = 'x'' OR 1=1' AND status != \"a'b\"");
        assert!(condition.is_err(), "two texts in a row are no condition");
        let condition = RUNS.filter("tags.`a'b` = \"x' OR 1=1\" and start_time >= 5").unwrap();
        assert_eq!(
            condition.sql,
            "(SELECT value FROM run_tags WHERE owner = runs.run_id AND key = ?) = ? AND runs.start_time >= ?"
        );
        assert_eq!(condition.values, [Sql::Text("a'b".to_owned()), Sql::Text("x' OR 1=1".to_owned()), Sql::Integer(5)]);
    }

    #[test]
    fn every_operator_is_understood() {
        for filter in [
            "",
            "attributes.status IN ('a', 'b')",
            "status NOT IN ('a')",
            "tags.x IS NULL",
            "tag.x is not null",
            "params.p LIKE 'a%'",
            "parameter.p ILIKE 'a%'",
            "metrics.`a b` > 0.5",
            "metrics.m <= -1e-3",
            "tags.\"quoted key\" = 'x'",
            "attr.start_time < 5 AND run.status != 'x'",
        ] {
            assert!(RUNS.filter(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn what_is_not_in_the_language_is_refused() {
        for filter in [
            "bogus ===",
            "status",
            "status =",
            "status = 'a' OR status = 'b'",
            "status = 'a' AND",
            "foo = 'a'",
            "thing.x = 'a'",
            "tags.x = 5",
            "status IN ()",
            "status IN ('a'",
            "status = 'open",
            "status = 'a'; DROP TABLE runs",
            "metrics.m = 'x'",
        ] {
            assert!(RUNS.filter(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn orders_name_a_key_and_a_direction() {
        let order = RUNS.order(&["attributes.start_time DESC".to_owned()], "runs.run_id").unwrap();
        assert_eq!(order.sql, "runs.start_time DESC NULLS LAST, runs.run_id");
        assert!(RUNS.order(&["bogus".to_owned()], "x").is_err());
        assert!(RUNS.order(&["status SIDEWAYS".to_owned()], "x").is_err());
        assert!(RUNS.order(&[String::new()], "x").is_err());
    }
}
