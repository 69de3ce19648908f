// The service worker: what was opened can be read without a network, and what a phone shares waits here until
// its owner says yes. Pages are kept only when the server marks them as this reader's own (X-Atlas-Keep), never
// errors, never anything after a logout. `ASSETS` is put before this by the server.
/* global ASSETS */
"use strict";

const FILES = `files-${ASSETS.version}`;
const PAGES = "pages-";
const SHARED = "shared";
const MOST = 80;
const PATIENCE = 4000;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(FILES).then((cache) => cache.addAll(ASSETS.files)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("files-") && name !== FILES) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== location.origin) return;
  // Where the web server asks for its password: not every browser shows that question to a service worker.
  if (url.pathname === "/enter" || url.pathname === "/logged-out") return;
  if (request.method === "POST") {
    if (url.pathname === "/share") event.respondWith(share(request));
    else if (url.pathname === "/logout") event.waitUntil(forget());
    else if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match("/offline")));
  } else if (request.method === "GET" && url.pathname.startsWith("/static/")) {
    event.respondWith(asset(request));
  } else if (request.method === "GET" && request.mode === "navigate") {
    event.respondWith(visit(event));
  }
});

async function asset(request) {
  return (await caches.match(request)) ?? fetch(request);
}

// The network first; what was kept when it is away, or too slow to wait for.
async function visit(event) {
  const { request } = event;
  const fresh = fetch(request).then(async (answer) => {
    // Whoever is sent to the login is nobody's reader any more.
    if (new URL(request.url).pathname === "/login" && answer.ok) await forget();
    else await keep(request, answer);
    if (answer.status === 401 && answer.headers.has("WWW-Authenticate")) {
      const { pathname, search } = new URL(request.url);
      return Response.redirect(`/enter?next=${encodeURIComponent(pathname + search)}`, 303);
    }
    return answer;
  });
  event.waitUntil(fresh.catch(() => {}));
  const kept = await keptPage(request);
  if (!kept) return fresh.catch(() => caches.match("/offline"));
  const tooSlow = new Promise((done) => setTimeout(done, PATIENCE, kept));
  return Promise.race([fresh.then((answer) => (answer.status >= 502 ? kept : answer)), tooSlow]).catch(() => kept);
}

async function keep(request, answer) {
  const reader = answer.headers.get("X-Atlas-Keep");
  if (!reader || answer.status !== 200) return;
  const name = PAGES + reader;
  for (const other of await caches.keys()) {
    if (other.startsWith(PAGES) && other !== name) await caches.delete(other);
  }
  const cache = await caches.open(name);
  await cache.delete(request);
  await cache.put(request, answer.clone());
  const all = await cache.keys();
  for (const old of all.slice(0, Math.max(0, all.length - MOST))) await cache.delete(old);
}

async function keptPage(request) {
  for (const name of await caches.keys()) {
    if (!name.startsWith(PAGES)) continue;
    const found = await (await caches.open(name)).match(request);
    if (found) return found;
  }
  return undefined;
}

async function forget() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PAGES) || name === SHARED) await caches.delete(name);
  }
}

// What Android shares: words go into the address of the form that asks, files wait here for that form.
async function share(request) {
  const form = await request.formData();
  const target = new URL("/add", location.origin);
  for (const name of ["title", "text", "url"]) {
    const value = form.get(name);
    if (typeof value === "string" && value) target.searchParams.set(name, value.slice(0, 4000));
  }
  const files = form.getAll("files").filter((file) => file.size);
  await caches.delete(SHARED);
  if (files.length) {
    const cache = await caches.open(SHARED);
    for (const [at, file] of files.entries()) {
      const headers = { "Content-Type": file.type || "application/octet-stream", "X-Name": encodeURIComponent(file.name) };
      await cache.put(`/shared/${at}`, new Response(file, { headers }));
    }
    target.pathname = "/add/files";
    target.searchParams.set("shared", String(files.length));
  }
  return Response.redirect(target, 303);
}
