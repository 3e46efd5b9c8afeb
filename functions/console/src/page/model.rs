//! One model: what is served, its versions, and a form to try it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use regrove_host::{Path, Problem};
use regrove_jobs::best_known;
use serde_json::{Value, json};

use super::layout::{Section, form_key, page};
use super::parts::{empty, fact, hash, json as json_text, metric, model_href, notice, plain, time, unavailable};
use crate::access::OwnForm;
use crate::api::models;
use crate::respond::{Format, Wants};
use crate::view::{ModelView, PointerView, SignatureView, VersionView};
use crate::{Ports, action, chart};

/// Features whose importance is drawn.
const FEATURES_SHOWN: usize = 20;
/// Features that get a field of their own; beyond that a row is one text.
const FIELDS_MAX: usize = 64;
/// Name of a feature's field: this and its number.
const FIELD: &str = "x";
/// Name of the field for a whole row.
const ROW_FIELD: &str = "row";

/// What was tried, and what came of it.
struct Tried {
    row: Vec<String>,
    answer: Result<Value, String>,
}

pub(super) async fn show(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let view = models::show(&ports, wants.name(&name)).await?;
    Ok(wants.answer(&view, |view| page(&wants, Section::Models, &view.name, &body(&wants, view, None))))
}

/// The form that tries a model: the same page, with the answer.
pub(super) async fn predict(
    State(ports): State<Arc<Ports>>,
    wants: Wants,
    Path(name): Path<String>,
    OwnForm(fields): OwnForm<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let view = models::show(&ports, &name).await?;
    let row = texts(&fields);
    let answer = match cells(&row, view.signature.as_ref()) {
        Ok(values) => action::predict(&ports, &name, &json!({"features": [values]})).await,
        Err(reason) => Err(action::invalid(&reason)),
    };
    if wants.format == Format::Json {
        return Ok(wants.answer(&answer?, |_| html! {}));
    }
    let tried = Tried { row, answer: answer.map_err(|problem| problem.detail) };
    Ok(wants.answer(&view, |view| page(&wants, Section::Models, &view.name, &body(&wants, view, Some(&tried)))))
}

/// The row as it was typed.
fn texts(fields: &[(String, String)]) -> Vec<String> {
    if let Some((_, row)) = fields.iter().find(|(name, _)| name == ROW_FIELD) {
        return row.split([',', '\n', ';']).map(|text| text.trim().to_owned()).collect();
    }
    fields
        .iter()
        .filter(|(name, _)| name.strip_prefix(FIELD).is_some_and(|number| number.parse::<usize>().is_ok()))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// Texts of categories, numbers, and nothing for a missing value; what is none is named.
fn cells(row: &[String], signature: Option<&SignatureView>) -> Result<Vec<Value>, String> {
    let names = signature.map(|signature| signature.feature_names.as_slice()).unwrap_or_default();
    let is_category = |at: usize| {
        let name = names.get(at);
        signature.zip(name).is_some_and(|(signature, name)| signature.categories.contains_key(name))
    };
    row.iter()
        .enumerate()
        .map(|(at, text)| match text.parse::<f64>() {
            _ if text.is_empty() => Ok(Value::Null),
            _ if is_category(at) => Ok(json!(text)),
            Ok(value) if value.is_finite() => Ok(json!(value)),
            _ => Err(format!("value {} is `{text}`, expected a number", at + 1)),
        })
        .collect()
}

fn body(wants: &Wants, model: &ModelView, tried: Option<&Tried>) -> Markup {
    html! {
        p .eyebrow { a href="/models" { "Models" } }
        h1 { (model.name) }
        (notice(wants))
        div #pointer data-live {
            @if let Some(reason) = &model.unavailable {
                (unavailable(&format!("MLflow was not asked, so only versions of this log are shown: {reason}")))
            }
            (pointer(wants, model))
            @if model.pointer.is_some() && model.versions.len() > 1 { (traffic(wants, model)) }
            section aria-labelledby="versions" { h2 #versions { "Versions" } (versions(wants, model)) }
        }
        @if let Some(signature) = &model.signature {
            section aria-labelledby="try" { h2 #try { "Try a prediction" } (form(wants, model, signature, tried)) }
        }
        @if !model.feature_importances.is_empty() {
            section aria-labelledby="importances" {
                h2 #importances { "Feature importances of the served version" }
                (chart::rows("Feature importances: mean decrease in impurity", &model.feature_importances, FEATURES_SHOWN))
            }
        }
        @if let (Some(matrix), Some(signature)) = (&model.confusion_matrix, &model.signature) {
            section aria-labelledby="confusion" {
                h2 #confusion { "Confusion matrix of the served version" }
                (chart::confusion(&matrix.of, &signature.classes, &matrix.counts))
            }
        }
        section aria-labelledby="switches" {
            h2 #switches { "What was served when" }
            div #switch-list data-live { (switches(model)) }
        }
    }
}

fn pointer(wants: &Wants, model: &ModelView) -> Markup {
    let Some(PointerView { version, uri, sha256, previous, by, switches, canary, shadow }) = &model.pointer else {
        return empty("Nothing is served under this name", &html! { "Load one of the versions below." });
    };
    html! {
        dl .facts data-announce=(format!("{} version {version} is served", model.name)) {
            (fact("Served", &html! { strong .big { "v" (version) } p .dim { code { (uri) } ", " (hash(sha256)) } }))
            (fact("Switched by", &html! { (switched_by(by)) p .dim { (switches) " switches so far" } }))
            @if let Some(canary) = canary { (fact("Canary", &html! { strong { "v" (canary.version) } " answers " (canary.percent) " % of the requests" })) }
            @if let Some(shadow) = shadow { (fact("Shadow", &html! { strong { "v" (shadow) } ", whose answers are only compared" })) }
            (fact("Before", &html! {
                @match previous {
                    Some(previous) => { "v" (previous)
                        form .below method="post" action=(format!("{}/load", model_href(&model.name))) {
                            (form_key(&wants.csrf)) input type="hidden" name="version" value="previous";
                            button #rollback type="submit" { "Roll back to v" (previous) }
                        } },
                    None => span .dim { "nothing" },
                }
            }))
            @if let Some(url) = &model.mlflow_url { (fact("MLflow", &html! { a href=(url) rel="noreferrer" { "registered model" } })) }
        }
    }
}

/// The form that splits the traffic.
fn traffic(wants: &Wants, model: &ModelView) -> Markup {
    let pointer = model.pointer.as_ref();
    let canary = pointer.and_then(|pointer| pointer.canary.as_ref());
    let shadow = pointer.and_then(|pointer| pointer.shadow.as_ref());
    let beside = |chosen: Option<&String>| {
        html! {
            option value="" { "none" }
            @for version in model.versions.iter().filter(|version| !version.served) {
                option value=(version.version) selected[chosen == Some(&version.version)] { "v" (version.version) }
            }
        }
    };
    html! {
        form #traffic .filters method="post" action=(format!("{}/traffic", model_href(&model.name))) aria-label="Traffic beside the served version" {
            (form_key(&wants.csrf))
            div { label for="canary" { "Canary" } select #canary name="canary" { (beside(canary.map(|canary| &canary.version))) } }
            div { label for="percent" { "Its share in %" }
                input #percent name="percent" type="number" min="1" max="100" value=(canary.map_or(10, |canary| canary.percent)); }
            div { label for="shadow" { "Shadow" } select #shadow name="shadow" { (beside(shadow)) } }
            button #split type="submit" { "Split the traffic" }
        }
    }
}

fn switched_by(by: &str) -> &'static str {
    match by {
        "event" => "its registration",
        "rollback" => "a rollback",
        _ => "a request",
    }
}

fn versions(wants: &Wants, model: &ModelView) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-label="Versions" {
            table .list {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "Aliases" } th scope="col" { "Job" }
                    th scope="col" .num { "Score" } th scope="col" { "Made" } th scope="col" { "Hash" }
                    th scope="col" { "Order" }
                } }
                tbody { @for version in &model.versions { (row(wants, &model.name, version)) } }
            }
        }
    }
}

fn row(wants: &Wants, model: &str, version: &VersionView) -> Markup {
    let score = best_known(&version.metrics);
    html! {
        tr {
            th scope="row" { "v" (version.version) @if version.served { " " span .state.state-succeeded { "served" } } }
            td { @for alias in &version.aliases { span .tag { (alias) } " " } }
            td { @match &version.job { Some(job) => a href=(format!("/jobs/{job}")) { (job) }, None => "–" } }
            td .num { @match score { Some((of, value)) => span title=(of) { (metric(value)) }, None => "–" } }
            td { (time(version.created_at)) }
            td { @if let Some(sha256) = &version.sha256 { (hash(sha256)) } @else { "–" } }
            td {
                @if !version.served {
                    form method="post" action=(format!("{}/load", model_href(model))) {
                        (form_key(&wants.csrf)) input type="hidden" name="version" value=(version.version);
                        button .small type="submit" { "Load" span .unseen { " version " (version.version) } }
                    }
                }
            }
        }
    }
}

fn form(wants: &Wants, model: &ModelView, signature: &SignatureView, tried: Option<&Tried>) -> Markup {
    let example: Vec<String> = signature
        .feature_names
        .iter()
        .zip(&signature.example)
        .map(|(name, value)| shown(signature, name, *value))
        .collect();
    let row = tried.map_or(example.as_slice(), |tried| tried.row.as_slice());
    html! {
        form .try method="post" action=(format!("{}/predict#try", model_href(&model.name))) {
            (form_key(&wants.csrf))
            @if signature.feature_names.len() <= FIELDS_MAX {
                div .fields { @for (number, name) in signature.feature_names.iter().enumerate() {
                    div {
                        label for=(format!("{FIELD}{number}")) title=(name) { (name) }
                        (cell(signature, name, number, row.get(number).map(String::as_str).unwrap_or_default()))
                    }
                } }
            } @else {
                label for="row" { "One row: " (signature.feature_names.len()) " numbers, separated by commas" }
                textarea #row name=(ROW_FIELD) rows="5" { (row.join(", ")) }
            }
            div .actions { button #predict .primary type="submit" { "Predict" } span .dim { "starts from a row of the data" } }
        }
        @if let Some(tried) = tried { (answer(signature, tried)) }
    }
}

/// A value as it is typed: the text of a code.
fn shown(signature: &SignatureView, name: &str, value: f64) -> String {
    let texts = signature.categories.get(name);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a code is a small whole number")]
    let text = texts.and_then(|texts| texts.get(value as usize));
    text.cloned().unwrap_or_else(|| value.to_string())
}

/// The field of one feature: a list to choose from for categories.
fn cell(signature: &SignatureView, name: &str, number: usize, value: &str) -> Markup {
    let field = format!("{FIELD}{number}");
    html! {
        @match signature.categories.get(name) {
            Some(texts) => select id=(field) name=(field) {
                option value="" { "missing" }
                @for text in texts { option value=(text) selected[text == value] { (text) } }
            },
            None => input id=(field) name=(field) inputmode="decimal" value=(value);,
        }
    }
}

fn answer(signature: &SignatureView, tried: &Tried) -> Markup {
    html! {
        div #answer role="status" {
            @match &tried.answer {
                Err(reason) => p .callout.bad { (reason) },
                Ok(answer) => {
                    p .callout.good {
                        "Prediction: " strong { (plain(&answer["predictions"][0])) }
                        " from version " (plain(&answer["model_version"]))
                    }
                    @if let Some(shares) = answer["probabilities"][0].as_array() {
                        table .list.narrow {
                            thead { tr { th scope="col" { "Class" } th scope="col" { "Probability" } th scope="col" .num { "Value" } } }
                            tbody { @for (class, share) in signature.classes.iter().zip(shares) {
                                tr {
                                    th scope="row" { (plain(class)) }
                                    td { meter min="0" max="1" value=(share) aria-label=(format!("probability of {}", plain(class))) {} }
                                    td .num { (metric(share.as_f64().unwrap_or_default())) }
                                }
                            } }
                        }
                    } @else { (json_text(answer)) }
                },
            }
        }
    }
}

fn switches(model: &ModelView) -> Markup {
    html! {
        @if model.switches.is_empty() { p .dim { "Nothing yet." } } @else {
            div .scroll tabindex="0" role="group" aria-label="Switches" {
                table .list {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Version" } th scope="col" { "Because of" } th scope="col" { "Event" } } }
                    tbody { @for switch in &model.switches {
                        tr {
                            td { (time(switch.event.time)) }
                            td { "v" (switch.version) }
                            td { (switched_by(&switch.by)) }
                            th scope="row" .code { a href=(switch.event.href()) { (switch.event.id) } }
                        }
                    } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_row_is_read_from_fields_or_from_one_text() {
        assert_eq!(texts(&fields(&[("form_key", "k"), ("x0", " 1.5"), ("x1", "2")])), ["1.5", "2"]);
        assert_eq!(texts(&fields(&[("row", "1, 2;3\n4")])), ["1", "2", "3", "4"]);
        let signature = SignatureView {
            feature_names: vec!["length".to_owned(), "zone".to_owned()],
            classes: Vec::new(),
            categories: [("zone".to_owned(), vec!["7".to_owned(), "north".to_owned()])].into(),
            example: vec![1.5, 1.0],
        };
        let read =
            |row: &[&str]| cells(&row.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), Some(&signature));
        assert_eq!(read(&["1.5", "north"]).unwrap(), [json!(1.5), json!("north")]);
        assert_eq!(read(&["", "7"]).unwrap(), [Value::Null, json!("7")], "a category, whatever it looks like");
        assert_eq!(read(&["<b>", "north"]).unwrap_err(), "value 1 is `<b>`, expected a number");
        assert!(read(&["NaN", ""]).is_err());
        assert_eq!((shown(&signature, "length", 1.5), shown(&signature, "zone", 1.0)), ("1.5".into(), "north".into()));
    }
}
