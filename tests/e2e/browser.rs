//! A real Chromium, driven over `WebDriver` (W3C, <https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use base64::Engine as _;
use http::Method;
use regrove_test_support::programs::workspace;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::polling::{DEADLINE, until};

/// What `WebDriver` calls an element reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Says where the driver listens.
const STARTED: &str = "started successfully on port ";
/// Names the folder of axe-core; `cargo xtask test` sets it.
const AXE: &str = "REGROVE_TEST_AXE";

/// A browser with a window of its own.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: reqwest::Client,
    profile: TempDir,
}

/// Colours that the browser's user likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

impl Browser {
    /// Starts one. `scripts` says whether pages may run any.
    pub(crate) async fn start(scripts: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browser is in it too, and ends with it.
            .process_group(0)
            .spawn()
            .expect("chromedriver: `cargo xtask test` installs it");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let (found, port) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once(STARTED) {
                    found.send(rest.trim_end_matches('.').to_owned()).unwrap_or_default();
                }
            }
        });
        let port = port.recv_timeout(DEADLINE).expect("chromedriver says its port");
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let mut browser = Self { driver, session: format!("http://127.0.0.1:{port}/session"), client, profile };
        let mut arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--window-size=1280,900",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let prefs = if scripts { json!({}) } else { json!({"profile.managed_default_content_settings.javascript": 2}) };
        let script_ms = u64::try_from(DEADLINE.as_millis()).unwrap();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "timeouts": {"script": script_ms},
            "goog:chromeOptions": {"args": arguments, "prefs": prefs},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.ask(Method::POST, "", Some(&wanted)).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.attempt(method, path, body).await.unwrap_or_else(|problem| panic!("{path}: {problem:#}"))
    }

    /// The value of the answer, or of a refusal.
    async fn attempt(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let mut answer: Value = response.json().await.unwrap();
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        self.ask(Method::POST, "/url", Some(&json!({"url": url}))).await;
    }

    pub(crate) async fn url(&self) -> String {
        self.ask(Method::GET, "/url", None).await.as_str().unwrap().to_owned()
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.ask(Method::POST, "/execute/sync", Some(&json!({"script": script, "args": []}))).await
    }

    async fn element(&self, css: &str) -> String {
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.ask(Method::POST, "/element", Some(&wanted)).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Does something with the first element, or with the one that a page which follows the news has put in its place.
    async fn with_element(&self, css: &str, method: Method, what: &str, body: Option<&Value>) -> Value {
        until(&format!("{css}: {what}"), async || {
            let id = self.element(css).await;
            match self.attempt(method.clone(), &format!("/element/{id}/{what}"), body).await {
                Ok(value) => Some(value),
                Err(problem) if problem["error"] == "stale element reference" => None,
                Err(problem) => panic!("{css}: {what}: {problem:#}"),
            }
        })
        .await
    }

    /// The text of the first element, as it is seen.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.with_element(css, Method::GET, "text", None).await.as_str().unwrap().to_owned()
    }

    /// Clicks the first element, as a person does: what is hidden or covered fails.
    pub(crate) async fn click(&self, css: &str) {
        self.with_element(css, Method::POST, "click", Some(&json!({}))).await;
    }

    /// Types into the first element, in place of what it holds.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        self.with_element(css, Method::POST, "clear", Some(&json!({}))).await;
        self.with_element(css, Method::POST, "value", Some(&json!({"text": text}))).await;
    }

    /// Waits until the page's text contains this, without loading it again.
    pub(crate) async fn sees(&self, css: &str, text: &str) {
        let script = format!("return document.querySelector({})?.innerText ?? ''", json!(css));
        until(&format!("{css} says {text}"), async || {
            self.run(&script).await.as_str().is_some_and(|seen| seen.contains(text)).then_some(())
        })
        .await;
    }

    /// Chooses the colours that `prefers-color-scheme` tells pages.
    pub(crate) async fn prefer(&self, scheme: Scheme) {
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": features});
        self.ask(Method::POST, "/goog/cdp/execute", Some(&command)).await;
    }

    /// Keeps a picture of the whole page as `target/screenshots/NAME.png`.
    pub(crate) async fn picture(&self, name: &str) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let command = json!({"cmd": "Page.captureScreenshot", "params": params});
        let picture = self.ask(Method::POST, "/goog/cdp/execute", Some(&command)).await;
        let bytes = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = workspace().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Errors and warnings that pages have written to their console since this was asked last.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let written = self.ask(Method::POST, "/se/log", Some(&json!({"type": "browser"}))).await;
        let entries = written.as_array().unwrap().iter();
        let bad = entries.filter(|entry| ["SEVERE", "WARNING"].contains(&entry["level"].as_str().unwrap_or_default()));
        bad.map(|entry| entry["message"].to_string()).collect()
    }

    /// Fails when a page has written an error or a warning to its console since that was asked last.
    pub(crate) async fn assert_quiet(&self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    /// Fails when axe-core finds anything that keeps people from using the page (WCAG 2.2 A and AA, best practices).
    pub(crate) async fn assert_accessible(&self) {
        let folder = std::env::var_os(AXE).map_or_else(|| workspace().join("target/axe"), std::path::PathBuf::from);
        let source = folder.join("node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&source)
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` installs it", source.display()));
        self.run(&axe).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations), (error) => done(String(error)));";
        let found = self.ask(Method::POST, "/execute/async", Some(&json!({"script": script, "args": []}))).await;
        let url = self.url().await;
        let violations = found.as_array().unwrap_or_else(|| panic!("{url}: {found}"));
        let told: Vec<String> = violations
            .iter()
            .map(|one| format!("{}: {} {}", one["id"], one["help"], one["nodes"][0]["html"]))
            .collect();
        assert!(told.is_empty(), "{url}:\n{}", told.join("\n"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.driver);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap_or_default();
        self.driver.wait().unwrap();
    }
}
