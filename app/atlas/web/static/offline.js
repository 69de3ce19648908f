// The page without a network lists what was kept of the library here.
"use strict";

(async () => {
  const list = document.getElementById("kept");
  for (const name of await caches.keys()) {
    if (!name.startsWith("pages-")) continue;
    const cache = await caches.open(name);
    for (const request of (await cache.keys()).reverse()) {
      const answer = await cache.match(request);
      const title = decodeURIComponent(answer?.headers.get("X-Atlas-Title") ?? "");
      if (!title) continue;
      const link = document.createElement("a");
      link.href = new URL(request.url).pathname;
      link.textContent = title;
      link.dir = "auto";
      const entry = document.createElement("li");
      entry.append(link);
      list.append(entry);
    }
  }
  if (list.children.length) document.getElementById("some").hidden = false;
})();
// A network is not yet Atlas, and a reload would undo a tap on a link above: so only when Atlas answers.
addEventListener("online", async () => {
  const answer = await fetch("/manifest.webmanifest", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) location.reload();
});
