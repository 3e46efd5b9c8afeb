// Keeps the open page up to date. Without it every page can still be read and every form be sent.
"use strict";

const THEME = "regrove-theme";
const root = document.documentElement;

// Before the page is drawn, so that it does not flash.
const chosen = localStorage.getItem(THEME);
if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;

function isDark() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return root.dataset.theme ? root.dataset.theme === "dark" : dark;
}

function themeButton() {
  const button = document.getElementById("theme");
  if (!button) return;
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem(THEME, root.dataset.theme);
    show();
  });
}

function say(text) {
  const said = document.getElementById("said");
  if (said && said.textContent !== text) said.textContent = text;
}

// What the reader is doing stays as it is: the field being typed in, opened details, the focus, scrolled tables.
function takeOver(old, fresh) {
  const focus = document.activeElement;
  const inside = old.contains(focus);
  if (inside && focus.matches("input, textarea, select")) return false;
  const key = inside ? (focus.id ? `#${CSS.escape(focus.id)}` : focus.getAttribute("href") && `a[href="${CSS.escape(focus.getAttribute("href"))}"]`) : null;
  const typed = [...old.querySelectorAll("input[id]:not([type=hidden])")].map((field) => [field.id, field.value]);
  const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
  const scrolled = [...old.querySelectorAll(".scroll")].map((box) => [box.getAttribute("aria-label"), box.scrollLeft, box.scrollTop]);
  const before = old.dataset.announce || old.querySelector("[data-announce]")?.dataset.announce;
  old.replaceWith(fresh);
  for (const id of open) fresh.querySelector(`details#${CSS.escape(id)}`)?.setAttribute("open", "");
  for (const [id, value] of typed) {
    const field = fresh.querySelector(`#${CSS.escape(id)}`);
    if (field) field.value = value;
  }
  for (const [label, left, top] of scrolled) {
    const box = [...fresh.querySelectorAll(".scroll")].find((one) => one.getAttribute("aria-label") === label);
    if (box) box.scrollTo(left, top);
  }
  if (key) fresh.querySelector(key)?.focus({ preventScroll: true });
  const after = fresh.dataset.announce || fresh.querySelector("[data-announce]")?.dataset.announce;
  if (after && after !== before) say(after);
  return true;
}

// The page as it was sent last, part by part: comparing with the document would see our own changes.
const sent = new Map();

async function look() {
  const response = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
  if (!response.ok || response.redirected) return false;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    if (!next) continue;
    const text = next.outerHTML;
    if (sent.get(old.id) === text) continue;
    if (takeOver(old, document.adoptNode(next))) sent.set(old.id, text);
  }
  return true;
}

function follow() {
  if (!root.hasAttribute("data-live-page") || !document.querySelector("[data-live]")) return;
  // A page that answers a form is what it is: asking for it again would not send the form.
  if (document.getElementById("answer")) return;
  for (const part of document.querySelectorAll("[data-live]")) sent.set(part.id, part.outerHTML);
  const light = document.getElementById("live-state");
  const show = (state) => {
    if (!light) return;
    light.hidden = false;
    light.textContent = state;
    light.dataset.state = state;
  };
  let looking = false;
  let again = false;
  let first = true;
  const news = async () => {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    do {
      again = false;
      try {
        show((await look()) ? "live" : "paused");
      } catch {
        show("paused");
      }
    } while (again);
    looking = false;
  };
  const source = new EventSource("/live");
  source.addEventListener("open", () => show("live"));
  source.addEventListener("error", () => show("waiting"));
  for (const name of ["log", "runtime"]) {
    source.addEventListener(name, () => {
      // The first message says where the log stands: the page has just been made from it.
      if (first && name === "log") {
        first = false;
        return;
      }
      news();
    });
  }
  addEventListener("pagehide", () => source.close());
}

addEventListener("DOMContentLoaded", () => {
  themeButton();
  follow();
});
