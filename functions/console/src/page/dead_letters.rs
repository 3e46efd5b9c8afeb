//! Dead letters: what nobody took, why, and what may be done about it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Redirect, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use regrove_host::Problem;
use serde_json::Value;

use super::layout::{Section, form_key, page};
use super::parts::{empty, json, notice, time, unavailable};
use crate::access::OwnForm;
use crate::api::dead_letters::{self, LetterList, LetterQuery};
use crate::respond::{Params, Wants};
use crate::runtime::DeadLetter;
use crate::{Ports, action};

pub(super) async fn list(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Params(query): Params<LetterQuery>,
) -> Result<Response, Problem> {
    let list = dead_letters::list(&ports, &query).await?;
    Ok(wants.answer(&list, |list| page(&wants, Section::DeadLetters, "Dead letters", &body(&wants, list))))
}

/// The buttons: `do` is `redrive` or `discard`, `id` a number; without one all are meant.
pub(super) async fn settle(
    State(ports): State<Arc<Ports>>,
    OwnForm(fields): OwnForm<Vec<(String, String)>>,
) -> Result<Redirect, Problem> {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let verb = field("do").filter(|verb| ["redrive", "discard"].contains(verb));
    let verb = verb.ok_or_else(|| action::invalid("`do` is neither `redrive` nor `discard`"))?;
    let number =
        |text: &str| text.parse::<i64>().map_err(|_| action::invalid(&format!("`id` is `{text}`, expected a number")));
    let ids: Vec<i64> =
        fields.iter().filter(|(name, _)| name == "id").map(|(_, id)| number(id)).collect::<Result<_, _>>()?;
    if ids.is_empty() && field("all") != Some("true") {
        return Err(action::invalid("no dead letter was chosen"));
    }
    ports.runtime.settle(verb, &ids).await?;
    Ok(Redirect::to(&format!("/dead-letters?notice={verb}")))
}

fn body(wants: &Wants, list: &LetterList) -> Markup {
    html! {
        h1 { "Dead letters" }
        (notice(wants))
        @if let Some(reason) = &list.unavailable { (unavailable(&format!("Not known here: {reason}."))) }
        @else {
            div #letters data-live {
                @if list.letters.is_empty() {
                    (empty("No dead letters", &html! { "Every event that the broker took was delivered, or is on its way." }))
                } @else {
                    form .actions method="post" action="/dead-letters" {
                        (form_key(&wants.csrf)) input type="hidden" name="all" value="true";
                        button type="submit" name="do" value="redrive" { "Redrive all" }
                        button .danger type="submit" name="do" value="discard" { "Discard all" }
                    }
                    ol .letters { @for letter in &list.letters { (one(wants, letter)) } }
                }
            }
        }
    }
}

fn one(wants: &Wants, letter: &DeadLetter) -> Markup {
    let text = |name: &str| letter.event.get(name).and_then(Value::as_str).unwrap_or_default();
    let id = format!("letter-{}", letter.id);
    html! {
        li .letter aria-labelledby=(id) {
            div .title-row {
                div {
                    h2 .code id=(id) { (text("id")) }
                    p .dim { (text("type")) " for " (letter.trigger) @if !text("subject").is_empty() { ", about " a href=(format!("/jobs/{}", text("subject"))) { (text("subject")) } } }
                }
                form .actions method="post" action="/dead-letters" {
                    (form_key(&wants.csrf)) input type="hidden" name="id" value=(letter.id);
                    button type="submit" name="do" value="redrive" { "Redrive" span .unseen { " " (text("id")) } }
                    button .danger type="submit" name="do" value="discard" { "Discard" span .unseen { " " (text("id")) } }
                }
            }
            p .callout.bad {
                @if let Some(code) = letter.code { strong { (code) } " " }
                (letter.error.as_deref().unwrap_or("no reason is known"))
            }
            p .dim {
                (time(Timestamp::from_millisecond(letter.ended_at_ms).ok())) ", "
                @if letter.in_sink { "the dead letter sink took it" } @else { "no dead letter sink took it: it is only here" }
            }
            details id=(format!("event-{}", letter.id)) { summary { "The event" } (json(&letter.event)) }
        }
    }
}
