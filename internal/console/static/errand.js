// What pages do beyond reading: tell the server the zone of time, follow what
// changes, follow a log. Everything else is made on the server.
"use strict";
(() => {
  const html = document.documentElement, body = document.body;
  const root = new URL(html.dataset.root, location.href);

  // Times come in the viewer's zone from the next page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== html.dataset.zone && navigator.cookieEnabled && !sessionStorage.getItem("zone-" + zone)) {
    sessionStorage.setItem("zone-" + zone, "told"); // a server that does not know it is told once
    document.cookie = `errand-zone=${zone};path=${root.pathname};max-age=31536000;samesite=lax`;
    if ("asked" in html.dataset && document.querySelector("main time")) location.reload();
  }

  const banner = document.getElementById("banner");
  function say(text, link) {
    banner.replaceChildren(text);
    if (link) {
      const a = document.createElement("a");
      a.href = link.href;
      a.textContent = link.text;
      banner.append(" ", a);
    }
    banner.hidden = !text;
  }

  // Where one is can be seen in a navigation that is wider than the window.
  const nav = document.querySelector("nav"), here = nav?.querySelector("[aria-current]");
  if (here) nav.scrollLeft += here.getBoundingClientRect().left - nav.getBoundingClientRect().left - (nav.clientWidth - here.offsetWidth) / 2;

  // A menu closes when something else is clicked, or with Escape.
  const menu = document.querySelector("details.menu");
  document.addEventListener("click", (e) => { if (menu.open && !menu.contains(e.target)) menu.open = false; });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && menu.open) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  const log = document.getElementById("log"), follow = document.getElementById("follow");
  document.querySelectorAll(".scripted").forEach((e) => { e.hidden = false; });
  const maxLog = 512 * 1024; // characters that stay on the page
  let logAt = log ? Number(log.dataset.from) : 0, logBusy = false;
  let source = null, busy = false, again = false, timer = 0, lost = 0, ended = false, signedOff = false; // of what is live, below
  async function moreLog() {
    if (!log || logBusy || signedOff || !follow.checked) return;
    logBusy = true;
    try {
      for (;;) {
        const r = await fetch(`${log.dataset.log}?from=${logAt}`, { redirect: "manual" });
        if (r.type === "opaqueredirect" || r.status === 401) { signedOut(); return; }
        if (!r.ok) return;
        const text = await r.text();
        logAt = Number(r.headers.get("X-Log-Next"));
        if (text) {
          let all = log.textContent + text;
          if (all.length > maxLog) all = all.slice(all.indexOf("\n", all.length - maxLog) + 1);
          log.textContent = all;
          log.scrollTop = log.scrollHeight;
        }
        if (!text || logAt >= Number(r.headers.get("X-Log-Size"))) return;
      }
    } catch { /* the page says that the connection is lost */ } finally { logBusy = false; }
  }
  if (log) { log.scrollTop = log.scrollHeight; follow.addEventListener("change", moreLog); }

  // Live: the server says that something has changed, and the page asks for itself
  // and takes over the parts that follow what changes.
  function signedOut() {
    if (signedOff) return;
    ended = signedOff = true;
    stop();
    const next = location.pathname.slice(root.pathname.length) + location.search;
    say(body.dataset.ended, { href: new URL("signin?next=" + encodeURIComponent(next), root).href, text: body.dataset.again });
  }

  async function refresh() {
    if (ended) return;
    if (busy) { again = true; return; }
    busy = true;
    try {
      const r = await fetch(location.href, { redirect: "manual", headers: { Accept: "text/html" } });
      if (r.type === "opaqueredirect" || r.status === 401) { signedOut(); return; }
      if (!r.ok) return;
      const next = new DOMParser().parseFromString(await r.text(), "text/html");
      if (next.documentElement.dataset.project !== html.dataset.project) { // changed in another window
        ended = true;
        stop();
        say(body.dataset.moved, { href: location.href, text: body.dataset.load });
        return;
      }
      if (!lost) say("");
      for (const part of document.querySelectorAll("[data-part]")) {
        const fresh = next.getElementById(part.id);
        if (fresh && !fresh.isEqualNode(part)) swap(part, fresh);
      }
      document.title = next.title;
      if (!next.body.dataset.live) { await moreLog(); ended = true; stop(); }
    } catch { say(body.dataset.lost); } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
    moreLog();
  }

  // swap puts a part in place of another, and leaves focus, open details and how
  // far tables are scrolled as they were.
  function swap(old, fresh) {
    const focused = document.activeElement, inside = old.contains(focused);
    const link = inside && focused.getAttribute("href");
    const scrolled = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    for (const d of old.querySelectorAll("details[id][open]")) {
      const same = fresh.querySelector("#" + CSS.escape(d.id));
      if (same) same.open = true;
    }
    old.replaceChildren(...fresh.childNodes);
    old.className = fresh.className;
    old.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    if (link) {
      const same = [...old.querySelectorAll("a")].find((a) => a.getAttribute("href") === link);
      if (same) same.focus({ preventScroll: true });
    }
  }

  function start() {
    if (source || ended) return;
    source = new EventSource(new URL("live?" + body.dataset.live, root));
    source.addEventListener("hello", () => { found(); say(""); refresh(); });
    source.addEventListener("change", refresh);
    source.addEventListener("ended", () => { stop(); refresh().then(() => { if (!ended) start(); }); });
    source.onerror = () => {
      if (!source) return;
      if (source.readyState === EventSource.CLOSED) { // refused: the session may have ended, or the server is full
        stop();
        refresh().then(() => { if (!ended) timer = setTimeout(start, 5000); });
      } else if (!document.hidden) { // a stream that is only too old is back before that
        lost ||= setTimeout(() => say(body.dataset.lost), 3000);
      }
    };
  }
  function stop() {
    if (source) source.close();
    source = null;
    clearTimeout(timer);
    found();
  }
  function found() {
    clearTimeout(lost);
    lost = 0;
  }

  if (!body.dataset.live) return;

  // Browsers allow few connections to a server: a page that nobody sees has none.
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (e) => { if (e.persisted) start(); });
  setInterval(() => { if (!document.hidden && source) refresh(); }, 30000); // what is said as "3 min ago" gets older
  if (log) setInterval(() => { if (!document.hidden && source) moreLog(); }, 2000); // what is written there is no change of the task
  if (!document.hidden) start();
})();
