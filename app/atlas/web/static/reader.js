// The reader: keeps the place, marks passages, follows the sound. All of it has a form or a link without this.
"use strict";

const prose = document.querySelector(".prose");

// The place: how much of the article has been on the screen, 0 to 1. Kept on leaving, taken up on coming back.
if (prose) {
  const place = () => {
    const box = prose.getBoundingClientRect();
    return Math.max(0, Math.min(1, (innerHeight - box.top) / box.height));
  };
  const first = place();
  let kept = Number(prose.dataset.progress);
  const came = performance.getEntriesByType("navigation")[0]?.type;
  if (kept > first && kept < 0.98 && !location.hash && came === "navigate") {
    const box = prose.getBoundingClientRect();
    scrollTo({ top: scrollY + box.top + kept * box.height - innerHeight, behavior: "instant" });
    say(`Back where you stopped, at ${Math.round(kept * 100)} %.`);
  }
  const keep = () => {
    const now = place();
    if (Math.abs(now - kept) < 0.01 || (now <= first && kept === 0)) return;
    kept = now;
    const data = new URLSearchParams(new FormData(document.getElementById("acts")));
    data.set("progress", now.toFixed(3));
    navigator.sendBeacon(`/items/${prose.dataset.item}/progress`, data);
  };
  let timer = 0;
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, 2000);
  }, { passive: true });
  document.addEventListener("visibilitychange", () => document.hidden && keep());
  addEventListener("pagehide", keep);
}

// What is wider than the page can be moved by keys too.
for (const wide of document.querySelectorAll(".prose :is(table, pre)")) {
  if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
}

// Choices of letters and colours show at once; they are kept by the form.
document.querySelector("[data-look]")?.addEventListener("change", async (event) => {
  const { name, value, form } = event.target;
  document.documentElement.dataset[name] = value;
  await send(form.action, new FormData(form));
});

// Passages are found by their letters alone: browsers differ in the spaces they select.
const letters = (text) => text.replace(/\s+/g, "");

function textMap(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  let text = "";
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    nodes.push({ node, from: text.length });
    text += letters(node.data);
  }
  return { nodes, text };
}

// Where the passage stands: of several places the one with the right words around it.
function whereIs(text, quote, prefix, suffix) {
  let best = -1;
  let most = -1;
  for (let at = text.indexOf(quote); at >= 0; at = text.indexOf(quote, at + 1)) {
    let score = 0;
    while (score < prefix.length && text[at - 1 - score] === prefix.at(-1 - score)) score += 1;
    const end = at + quote.length;
    let behind = 0;
    while (behind < suffix.length && text[end + behind] === suffix[behind]) behind += 1;
    if (score + behind > most) [best, most] = [at, score + behind];
  }
  return best;
}

// The offset in a text node at which its nth letter stands.
function offsetOf(node, count) {
  let seen = 0;
  for (let at = 0; at < node.data.length; at += 1) {
    if (/\s/.test(node.data[at])) continue;
    if (seen === count) return at;
    seen += 1;
  }
  return node.data.length;
}

function mark(entry) {
  const quote = letters(entry.querySelector("blockquote").textContent);
  if (!quote) return;
  const { nodes, text } = textMap(prose);
  const start = whereIs(text, quote, letters(entry.dataset.prefix), letters(entry.dataset.suffix));
  if (start < 0) return;
  const end = start + quote.length;
  let first = true;
  for (const { node, from } of nodes) {
    const length = letters(node.data).length;
    if (from + length <= start || from >= end || length === 0) continue;
    const range = document.createRange();
    range.setStart(node, offsetOf(node, Math.max(0, start - from)));
    range.setEnd(node, end >= from + length ? node.data.length : offsetOf(node, end - from));
    const element = document.createElement("mark");
    if (first) element.id = `mark-${entry.dataset.highlight}`;
    if (entry.querySelector(":scope > p")) element.className = "noted";
    element.addEventListener("click", () => entry.scrollIntoView({ block: "center" }));
    range.surroundContents(element);
    first = false;
  }
  const link = document.createElement("a");
  link.href = `#mark-${entry.dataset.highlight}`;
  link.textContent = "Show in the text";
  link.className = "quiet";
  entry.querySelector("blockquote").after(link);
}

if (prose) {
  document.querySelectorAll("li[data-highlight]").forEach(mark);
  if (location.hash.startsWith("#mark-")) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
}

// Selecting a passage offers to mark it.
const marker = document.getElementById("marker");
if (prose && marker) {
  const AROUND = 60;
  const offer = () => {
    const selection = getSelection();
    const range = selection.rangeCount ? selection.getRangeAt(0) : null;
    if (!range || range.collapsed || !prose.contains(range.commonAncestorContainer)) {
      if (!marker.contains(document.activeElement)) marker.hidden = true;
      return;
    }
    const quote = selection.toString().trim();
    if (quote.length < 2 || quote.length > 20000) return;
    const before = document.createRange();
    before.setStart(prose, 0);
    before.setEnd(range.startContainer, range.startOffset);
    const after = document.createRange();
    after.setStart(range.endContainer, range.endOffset);
    after.setEnd(prose, prose.childNodes.length);
    marker.elements.quote.value = quote;
    marker.elements.prefix.value = before.toString().slice(-AROUND);
    marker.elements.suffix.value = after.toString().slice(0, AROUND);
    marker.querySelector("q").textContent = quote;
    marker.hidden = false;
  };
  let timer = 0;
  document.addEventListener("selectionchange", () => {
    clearTimeout(timer);
    timer = setTimeout(offer, 250);
  });
  marker.querySelector("[data-close]").addEventListener("click", () => {
    getSelection().removeAllRanges();
    marker.hidden = true;
  });
}

// A time in the transcript moves the sound there; the sound shows where it is.
const player = document.querySelector(".player > *");
if (player) {
  const lines = [...document.querySelectorAll(".transcript li")];
  document.addEventListener("click", (event) => {
    const time = event.target.closest("[data-at]");
    if (!time) return;
    event.preventDefault();
    player.currentTime = Number(time.dataset.at);
    player.play().catch(() => say("The sound cannot be played here."));
  });
  let now = null;
  player.addEventListener("timeupdate", () => {
    const line = lines.findLast((each) => Number(each.dataset.start) <= player.currentTime);
    if (line === now) return;
    now?.classList.remove("now");
    line?.classList.add("now");
    now = line;
  });
}
