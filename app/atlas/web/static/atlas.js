// Atlas works without this file. It adds comforts: keys, buttons that answer in place, a page that notices when
// what it waits for has changed, and reading what was opened without a network.
"use strict";

const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

// Tell, where screen readers hear it too.
let hush = 0;
function say(text) {
  const place = document.getElementById("said");
  if (!place) return;
  place.textContent = text;
  clearTimeout(hush);
  hush = setTimeout(() => { place.textContent = ""; }, 4000);
}

// Send a form's fields from here; tell whether that worked. What forms answer is a redirect.
async function send(url, data) {
  try {
    const answer = await fetch(url, { method: "POST", body: new URLSearchParams(data), redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.ok) return true;
    say("That did not work. Reload the page and try again.");
  } catch {
    say("Atlas cannot be reached. Nothing was changed.");
  }
  return false;
}

// Buttons that turn something on and off do so in place.
const SAID = { star: ["No longer starred.", "Starred."], read: ["Marked as unread.", "Marked as read."] };
document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  const what = button?.dataset.toggle;
  if (!what) return;
  event.preventDefault();
  const on = button.value === "1";
  if (!(await send(button.formAction, new FormData(event.target, button)))) return;
  button.value = on ? "0" : "1";
  button.setAttribute("aria-pressed", String(on));
  if (what === "read") button.closest(".row")?.classList.toggle("row-read", on);
  say(SAID[what][Number(on)]);
});

// Of a row of links wider than the screen, the present one is seen.
for (const link of document.querySelectorAll(".chips [aria-current]")) {
  const row = link.parentElement;
  row.scrollLeft = link.offsetLeft - (row.clientWidth - link.offsetWidth) / 2 - row.offsetLeft;
}

// Filters that say nothing are left out of the address.
document.querySelector(".filters form")?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) field.disabled = field.name !== "" && field.value === "";
});

// Keys; whoever does not want them turns them off (then the list of keys is not in the page).
const keys = document.getElementById("keys");
const links = () => [...document.querySelectorAll(".row :is(h2, h3) a")];
const here = () => document.activeElement?.closest(".row") ?? (document.querySelector(".reader") && document);
const step = (by) => {
  const list = links();
  if (!list.length) {
    document.querySelector(by > 0 ? "a[rel=next]" : "a[rel=prev]")?.click();
    return;
  }
  const at = list.indexOf(document.activeElement?.closest(".row")?.querySelector(":is(h2, h3) a")) + by;
  list[Math.max(0, Math.min(at, list.length - 1))].focus();
};
const press = (what) => here()?.querySelector(`[data-toggle=${what}]`)?.click();
const KEYS = {
  "/": () => {
    const field = document.querySelector("[data-search]");
    if (field) field.focus();
    else location.assign("/search");
  },
  j: () => step(1),
  k: () => step(-1),
  o: () => here()?.querySelector(":is(h2, h3) a")?.click(),
  m: () => press("read"),
  s: () => press("star"),
  v: () => document.querySelector("[data-original]")?.click(),
  "?": () => keys.showModal(),
};
const PLACES = { l: "/", f: "/feeds", a: "/add", s: "/settings" };
let going = false;
if (keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || keys.open) return;
    const act = going && PLACES[event.key] ? () => location.assign(PLACES[event.key]) : KEYS[event.key];
    going = event.key === "g";
    if (!act) return;
    event.preventDefault();
    act();
  });
}

// An item on its way is asked for, ever more rarely; the page reloads once it has arrived or met trouble (from
// stage 590 on). In a list the newest is watched: when that one is there, the others are too.
const waiting = document.querySelector("[data-pending]");
if (waiting) {
  let pause = 700;
  const look = async () => {
    try {
      const answer = await fetch(`/api/items/${waiting.dataset.pending}`);
      if (answer.status === 401 || answer.status === 404) return;
      if (answer.ok) {
        const item = await answer.json();
        if (item.stage >= 590 && String(item.stage) !== waiting.dataset.stage && !typing(document.activeElement)) {
          location.reload();
          return;
        }
      }
    } catch {
      // The network is away; the next look may find it again.
    }
    pause = Math.min(pause * 1.3, 30000);
    setTimeout(document.hidden ? wake : look, pause);
  };
  const wake = () => (document.hidden ? document.addEventListener("visibilitychange", look, { once: true }) : look());
  setTimeout(look, pause);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  });
}

// A click on a bookmarklet here would only save this page; it is meant to be dragged.
for (const link of document.querySelectorAll("[data-bookmarklet]")) {
  link.addEventListener("click", (event) => event.preventDefault());
}

// The service worker keeps what was opened. The policy of our pages allows one address for it, this one.
if ("serviceWorker" in navigator) {
  const address = { createScriptURL: () => "/sw.js" };
  const policy = window.trustedTypes?.createPolicy("atlas", address) ?? address;
  addEventListener("load", () => navigator.serviceWorker.register(policy.createScriptURL("")).catch(() => {}));
}
