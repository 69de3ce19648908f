// Fills in forms with what was handed over: files a phone shared, a page the bookmarklet was clicked on. Nothing
// is sent before its owner presses the button.
"use strict";

// The service worker keeps shared files until they are in the form.
(async () => {
  const field = document.getElementById("files");
  if (!field || !new URLSearchParams(location.search).has("shared") || !("caches" in window)) return;
  const cache = await caches.open("shared");
  const chosen = new DataTransfer();
  for (const request of await cache.keys()) {
    const answer = await cache.match(request);
    const body = await answer.blob();
    chosen.items.add(new File([body], decodeURIComponent(answer.headers.get("X-Name") ?? "file"), { type: body.type }));
  }
  await caches.delete("shared");
  if (!chosen.files.length) return;
  field.files = chosen.files;
  say(`${chosen.files.length} ${chosen.files.length === 1 ? "file is" : "files are"} ready to be added.`);
  field.form.querySelector("button").focus();
})();

// The page that opened this one, if it was the bookmarklet's, hands itself over as text.
const paste = document.querySelector("[data-paste]");
if (paste && window.opener) {
  const source = window.opener;
  const take = (event) => {
    if (event.source !== source || typeof event.data?.atlas !== "string") return;
    removeEventListener("message", take);
    paste.elements.content.value = event.data.atlas;
    say("The page is here. Save it, if it is what you want.");
    paste.querySelector("button").focus();
  };
  addEventListener("message", take);
  source.postMessage("ready", "*");
}
