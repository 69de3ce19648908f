// Atlas works without this file. It adds three comforts: keys, a page that notices when what it waits for
// has changed, and a copy button.
"use strict";

const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

// "/" goes to the search field, j and k walk through a list or to the next and previous article.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "/") {
    event.preventDefault();
    const field = document.querySelector("[data-search]");
    if (field) field.focus();
    else location.assign("/search");
  } else if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll(".row h2 a")];
    if (links.length) {
      const at = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      links[Math.max(0, Math.min(at, links.length - 1))].focus();
    } else {
      document.querySelector(event.key === "j" ? "a[rel=next]" : "a[rel=prev]")?.click();
    }
  }
});

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

// A click on the bookmarklet here would only save this page; it is meant to be dragged.
document.querySelector("[data-bookmarklet]")?.addEventListener("click", (event) => event.preventDefault());
