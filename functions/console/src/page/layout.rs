//! What stands around every page.

use axum::response::Response;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

use super::{SCRIPT, STYLE};
use crate::access::{CSRF_FIELD, Csrf, hex};
use crate::respond::{Wants, page_response};

/// Names the assets' content in their addresses.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest([STYLE, SCRIPT].concat().as_bytes());
    hex(&digest)[..12].to_owned()
});

/// The pages that the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Jobs,
    Events,
    DeadLetters,
    Functions,
    Models,
}

const NAVIGATION: [(Section, &str, &str); 6] = [
    (Section::Overview, "/", "Overview"),
    (Section::Jobs, "/jobs", "Jobs"),
    (Section::Events, "/events", "Events"),
    (Section::DeadLetters, "/dead-letters", "Dead letters"),
    (Section::Functions, "/functions", "Functions"),
    (Section::Models, "/models", "Models"),
];

/// A page that follows the log.
pub(super) fn page(wants: &Wants, section: Section, title: &str, body: &Markup) -> Markup {
    let twin = twin(&wants.here);
    document(
        title,
        true,
        &html! {
            (header(section, wants))
            main #main tabindex="-1" { (body) }
            footer .foot {
                p {
                    "This page as " a href=(twin) { "JSON" } " · "
                    a href="/docs" { "API" } " · times are UTC"
                }
            }
        },
    )
}

/// The address of a page's JSON twin.
fn twin(here: &str) -> String {
    let (path, query) = here.split_once('?').unwrap_or((here, ""));
    let path = if path == "/" { "/overview" } else { path };
    let query: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("notice=")).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}.json{mark}{}", query.join("&"))
}

fn document(title: &str, live: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-live-page[live] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Regrove" }
                link rel="icon" href=(format!("/assets/icon.svg?v={}", *EDITION)) type="image/svg+xml";
                link rel="stylesheet" href=(format!("/assets/console.css?v={}", *EDITION));
                script src=(format!("/assets/console.js?v={}", *EDITION)) {}
            }
            body { (body) }
        }
    }
}

fn header(section: Section, wants: &Wants) -> Markup {
    html! {
        a .skip href="#main" { "Skip to content" }
        header .top {
            a .brand href="/" aria-label="Regrove, overview" {
                svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true" {
                    path .brand-mark d="M10 18V9M10 12L5.5 8.5M10 10.5L14.5 7" {}
                    circle .brand-leaf cx="10" cy="5" r="3" {}
                    circle .brand-leaf cx="4.6" cy="7.4" r="2.2" {}
                    circle .brand-leaf cx="15.4" cy="6" r="2.2" {}
                }
                span { "Regrove" }
            }
            nav aria-label="Main" {
                ul {
                    @for (known, href, name) in NAVIGATION {
                        li { a href=(href) aria-current=[(known == section).then_some("page")] { (name) } }
                    }
                }
            }
            div .tools {
                span #live-state .live-state hidden { "live" }
                button #theme .quiet type="button" hidden aria-pressed="false" { "Dark" }
                @if wants.logged_in {
                    form method="post" action="/logout" #logout {
                        (form_key(&wants.csrf)) button .quiet type="submit" { "Log out" }
                    }
                }
            }
        }
        p #said .unseen role="status" aria-live="polite" {}
    }
}

/// The field that every form carries.
pub(super) fn form_key(csrf: &Csrf) -> Markup {
    html! { input type="hidden" name=(CSRF_FIELD) value=(csrf.key); }
}

/// The page that asks for the token.
pub(crate) fn login(csrf: &Csrf, next: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        main #main .narrow tabindex="-1" {
            h1 { "Regrove console" }
            p { "Enter the token that the console was started with (" code { "REGROVE_TOKEN" } ")." }
            form .stack method="post" action="/login" {
                (form_key(csrf))
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input #token name="token" type="password" autocomplete="current-password" required
                    aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")];
                @if let Some(wrong) = wrong { p #wrong .callout.bad role="alert" { (wrong) } }
                button .primary type="submit" { "Log in" }
            }
        }
    };
    page_response(document("Log in", false, &body), csrf)
}

/// A refusal as a page.
pub(crate) fn problem(problem: &Value) -> Markup {
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let title = if text("title").is_empty() { "Something went wrong" } else { text("title") };
    let status = problem.get("status").map(ToString::to_string).unwrap_or_default();
    document(
        title,
        false,
        &html! {
            a .skip href="#main" { "Skip to content" }
            header .top {
                nav aria-label="Main" {
                    ul { @for (_, href, name) in NAVIGATION { li { a href=(href) { (name) } } } }
                }
            }
            main #main tabindex="-1" {
                p .eyebrow { (status) }
                h1 { (title) }
                p .lead { (text("detail")) }
                p .dim { code { (text("type")) } }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::twin;

    #[test]
    fn the_twin_keeps_the_filters_and_drops_the_notice() {
        for (here, json) in [
            ("/", "/overview.json"),
            ("/jobs", "/jobs.json"),
            ("/jobs?state=failed&notice=x&name=a", "/jobs.json?state=failed&name=a"),
            ("/jobs/a?notice=stopping", "/jobs/a.json"),
            ("/events/job/a/3", "/events/job/a/3.json"),
        ] {
            assert_eq!(twin(here), json);
        }
    }
}
