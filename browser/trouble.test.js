// What goes wrong: a session that ends, a server that dies, texts of attackers, a
// proxy in between.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { allowed, furnish } from "./pages.js";
import { admin, kafka, launch, redis, server, shown, signIn, sound, start, status, until, visitor } from "./stage.js";

let s, browser;
before(async () => { s = await server(["--lease", "2s"]); browser = await launch(); });
after(async () => { await browser?.close(); await s?.stop(); });

const ended = async (page, next) => {
  await shown(page, "#banner", /session has ended.*Sign in again/);
  await page.click("#banner a");
  await shown(page, "h1", /Sign in/);
  assert.equal(new URL(page.url()).searchParams.get("next"), next);
};

test("a user who is disabled while watching is told so, and can come back", async (t) => {
  const password = await s.user("olga", "operator");
  const page = await visitor(t, browser, s.url);
  await signIn(page, "olga", password);
  const id = await s.submit("pulse");
  await page.at(`tasks/${id}`);
  await status(page, "running");
  await s.cli(["user", "set", "olga", "--disable"]);
  await ended(page, `tasks/${id}`);
  await s.cli(["user", "set", "olga", "--enable"]);
  await signIn(page, "olga", password);
  assert.equal(page.path(), `tasks/${id}`);
  sound(page);
});

test("who signs out in one window is signed out in the others", async (t) => {
  const page = await visitor(t, browser, s.url);
  await admin(page, s);
  const id = await s.submit("pulse");
  await page.at(`tasks/${id}`);
  await status(page, "running");
  await page.evaluate(() => { window.marker = "here"; });
  const other = await page.context().newPage();
  await other.goto(`${s.url}/tasks`);
  await other.click("details.menu > summary");
  await other.click("text=Sign out");
  await shown(other, "h1", /Sign in/);
  await page.bringToFront();
  await shown(page, "#banner", /session has ended/);
  assert.equal(await page.evaluate(() => window.marker), "here", "what one was reading stays");
  await shown(page, "h1", /pulse/);
  await ended(page, `tasks/${id}`);
  sound(page);
});

test("a session ends with the access key that it was made with", async (t) => {
  const made = await s.cli(["key", "add", "--user", "admin", "--note", "for a while"]);
  const access = /HUAWEICLOUD_SDK_AK='?([^'\s]+)/.exec(made)[1], secret = /HUAWEICLOUD_SDK_SK='?([^'\s]+)/.exec(made)[1];
  const page = await visitor(t, browser, s.url);
  await page.at("signin?by=key");
  await page.fill("#access", access);
  await page.fill("#secret", secret);
  await page.click("main form button");
  await shown(page, "h1", /Overview/);
  const id = await s.submit("pulse");
  await page.at(`tasks/${id}`);
  await status(page, "running");
  await s.cli(["key", "revoke", access]);
  await ended(page, `tasks/${id}`);
  sound(page);
});

test("a server that is killed: the page says so, and catches up when it is back", async (t) => {
  const page = await visitor(t, browser, s.url);
  await admin(page, s);
  const id = await s.submit("pulse");
  await page.at(`tasks/${id}`);
  await status(page, "running");
  await page.evaluate(() => { window.marker = "here"; });
  await s.kill();
  await shown(page, "#banner", /connection was lost/);
  await s.again();
  await status(page, "failed"); // nobody knows how far it came
  await shown(page, "#why", /unknown|lost/i);
  await until("nothing is said any more", async () => !await page.locator("#banner").isVisible());
  assert.equal(await page.evaluate(() => window.marker), "here", "without a reload");
  page.faults = page.faults.filter((f) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET/.test(f));
  sound(page);
});

test("texts of attackers are texts", async (t) => {
  const words = [
    "<script>window.hacked=1</script>", "<img src=x onerror=\"window.hacked=1\">", "\" onmouseover=\"window.hacked=1\" x=\"", "' autofocus onfocus='window.hacked=1", "</pre></bdi></script><svg onload=window.hacked=1>",
    "javascript:window.hacked=1", "{{.}} ${window.hacked=1}", "\u001b[31mred\u001b[0m\u001b]0;title\u0007", "\u202ereversed \u2066inner", "line\nbreak\r\n\ttab", "\ufeff\u200b", "主题 订单 👩‍👩‍👧", "&lt;b&gt; &amp;", "x".repeat(10_000), "e" + "\u0301".repeat(80), "",
  ];
  const upTo = (w, bytes) => { while (Buffer.byteLength(w) > bytes) w = w.slice(0, -Math.max(1, Math.ceil((Buffer.byteLength(w) - bytes) / 4))); return w; };
  // What the server refuses cannot be shown.
  let taken = 0;
  for (const [n, w] of words.entries()) {
    const id = `00000000-0000-0000-0000-${n.toString().padStart(12, "0")}`, name = upTo(w, 200) || "empty";
    const out = await s.cli(["instance", "add", "--id", id, "--name", name, "--engine", "redis", "--attr", `k${upTo(w, 100).replaceAll("=", "")}=${upTo(w, 1000)}`], { fails: true });
    if (out) taken++;
  }
  assert.ok(taken >= 6, `only ${taken} instances were taken`);
  // Names and notes of people, keys, projects and workers.
  const given = { users: 0, keys: 0, projects: 0 };
  for (const w of words) {
    if (await s.cli(["user", "add", upTo(w, 60) || "empty", "--role", `${s.project}=viewer`], { fails: true })) given.users++;
    if (await s.cli(["key", "add", "--user", "admin", "--note", upTo(w, 250)], { fails: true })) given.keys++;
    if (await s.cli(["project", "add", upTo(w, 60) || "empty"], { fails: true })) given.projects++;
  }
  t.diagnostic(`taken: ${taken} instances, ${JSON.stringify(given)}`);
  assert.ok(given.keys >= 6, JSON.stringify(given));
  const worker = await start(["worker", "--operations", s.declared, "--name", words[0] + words[2], "--work-dir", join(s.dir, "elsewhere"), "--drain-timeout", "0s"], [], { ...s.env, ERRAND_SERVER: s.url, HOME: s.dir });
  t.after(() => worker.stop("SIGKILL"));
  await until("the worker is known", async () => /window\.hacked/.test(JSON.stringify(await s.json(["worker", "list"]))));
  const messages = [{ steps: words.slice(0, 12).map((w) => upTo(w, 200)) }];
  for (const w of words) messages.push({ step: { name: upTo(w, 200), status: "running", detail: upTo(w, 1000) } }, { substep: upTo(w, 200) }, { log: w }, { progress: 40 });
  messages.push({ result: words }, { error: { code: words[0], message: words.join(" "), permanent: true } });
  await writeFile(join(s.declared, "messages"), [...messages.map((m) => JSON.stringify(m)), ...words].join("\n") + "\n");
  const params = JSON.stringify({ ...Object.fromEntries(words.map((w, i) => [`p${i}${upTo(w, 300)}`, w])), list: words });
  const failed = await s.submit("hostile", ["--params", "-"], { stdin: params });
  await s.ended(failed);
  const cancelled = await s.submit("elsewhere", ["--params", "-"], { stdin: params });
  await s.cli(["cancel", cancelled, "--reason", words[0] + words[2]]);
  const told = await s.json(["show", failed]);
  assert.match(JSON.stringify(told), /window\.hacked/);
  assert.match(await s.cli(["log", failed]), /window\.hacked/);
  const records = words.map((w, n) => ({
    id: n.toString(16).padStart(32, "c"), name: `op${upTo(w, 100)}`, user_name: upTo(w, 100), params: w, details: { free: w, old_capacity: upTo(w, 100), new_capacity: words[0] }, status: "FAILED", error_code: upTo(w, 100), reason: upTo(w, 1000),
    created_at: new Date(Date.now() - n * 60_000).toISOString(), updated_at: new Date().toISOString(),
    progress: { progress: 50, step_details: [{ step_name: upTo(w, 200), step_status: "FAILED", error_code: upTo(w, 60), detail: upTo(w, 900) }] },
  }));
  await s.cli(["import", "-", "--instance", redis], { stdin: JSON.stringify({ task_count: String(records.length), tasks: records }) });

  for (const options of [{}, { locale: "zh-CN", viewport: { width: 375, height: 740 }, isMobile: true }]) {
    const page = await visitor(t, browser, s.url, options);
    await admin(page, s);
    const paths = ["", "instances", "tasks", "tasks?status=failed", `tasks?instance=${encodeURIComponent(words[2])}&operation=${encodeURIComponent(words[0])}&user=${encodeURIComponent(words[1])}&from=${encodeURIComponent(words[2])}`,
      `instances?q=${encodeURIComponent(words[0])}`, `signin?next=${encodeURIComponent("javascript:window.hacked=1")}`, "signin?next=//example.org/", `?done=${encodeURIComponent(words[0])}`,
      `instances/${redis}`, `instances/${redis}?zoom=hour`, `instances/${redis}?zoom=${encodeURIComponent(words[2])}&at=${encodeURIComponent(words[0])}`,
      `tasks/${failed}`, `tasks/${failed}/retry`, `tasks/${failed}/delete`, `tasks/${cancelled}`, "submit", `submit?instance=${redis}`, "workers", "project", "users", "users/admin", `users/${encodeURIComponent(words[0])}`, `keys/x/revoke?back=${encodeURIComponent("javascript:window.hacked=1")}`,
      ...records.map((r) => `tasks/${r.id}`), ...words.map((_, n) => `instances/00000000-0000-0000-0000-${n.toString().padStart(12, "0")}`)];
    for (const path of paths) {
      await page.at(path);
      assert.equal(new URL(page.url()).origin, s.url, path);
      if (!/^(signin|project)/.test(path)) assert.equal(new URL(page.url()).pathname, new URL(s.url + "/" + path).pathname, "the page itself is looked at");
      for (const link of await page.locator("main a").evaluateAll((all) => all.slice(0, 30).map((a) => a.href?.baseVal ?? a.href))) {
        assert.ok(new URL(link, page.url()).origin === s.url, `${path} leads to ${link}`);
      }
      await page.mouse.move(200, 150);
      await page.mouse.move(180, 400, { steps: 4 });
      const found = await page.evaluate(() => ({ hacked: window.hacked, scripts: document.scripts.length, wide: document.documentElement.scrollWidth - innerWidth > 0 ? [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, pre")).map((e) => `${e.localName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`).join("; ") : "", shown: document.body.innerText }));
      assert.equal(found.hacked, undefined, path);
      assert.equal(found.scripts, 1, path);
      assert.equal(found.wide, "", `${path} is too wide`);
      assert.doesNotMatch(found.shown, /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/, `${path}: characters that nobody sees`);
    }
    page.faults = page.faults.filter((f) => !/status of 40[034]/.test(f)); // of what is not there
    sound(page);
  }

  // What arrives while one watches is put into the page by a script.
  const page = await visitor(t, browser, s.url);
  await admin(page, s);
  const again = await s.submit("hostile", ["--params", "-", "--run-at", "2s"], { stdin: params });
  await page.at(`tasks/${again}`);
  await status(page, "failed");
  await shown(page, "#log", /<script>window.hacked=1<\/script>/);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  sound(page);
});

// prefixed is a proxy that strips a path, and says what it was asked for.
async function prefixed(target, prefix) {
  const asked = [];
  const proxy = http.createServer((q, r) => {
    asked.push(q.url);
    if (!q.url.startsWith(prefix + "/")) { r.writeHead(404).end(); return; }
    const up = http.request(target + q.url.slice(prefix.length), { method: q.method, headers: q.headers }, (a) => { r.writeHead(a.statusCode, a.headers); r.flushHeaders(); a.pipe(r); });
    up.on("error", () => r.destroy());
    r.on("close", () => up.destroy());
    q.pipe(up);
  });
  await new Promise((r) => proxy.listen(0, "127.0.0.1", r));
  return { asked, url: `http://127.0.0.1:${proxy.address().port}${prefix}`, close: () => { proxy.closeAllConnections(); return new Promise((r) => proxy.close(r)); } };
}

test("below a path that a proxy strips", async (t) => {
  const pages = await furnish(s);
  const proxy = await prefixed(s.url, "/errand");
  t.after(proxy.close);
  const page = await visitor(t, browser, proxy.url);
  await page.at("tasks?engine=redis");
  assert.ok(page.url().startsWith(proxy.url + "/signin"));
  await admin(page, s);
  assert.equal(page.path(), "tasks?engine=redis");
  const cookies = await page.context().cookies();
  assert.ok(cookies.length && cookies.every((c) => /^\/errand\/?$/.test(c.path)), JSON.stringify(cookies));
  await page.click("details.menu > summary");
  await Promise.all([page.waitForNavigation(), page.click(".sheet >> text=Dark")]);
  for (const { name, path } of pages) {
    const r = await page.at(path);
    assert.equal(r.status(), allowed(name), path);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark", `${name}: cookies are sent`);
    for (const link of await page.locator("a[href], form[action]").evaluateAll((all) => all.map((e) => e.href?.baseVal ?? e.href ?? e.action))) {
      assert.ok(new URL(link, page.url()).href.startsWith(proxy.url + "/") || link.startsWith("#"), `${name} leads to ${link}`);
    }
  }
  await page.at(`submit?instance=${redis}&operation=resize`);
  await page.getByLabel(/^capacity/).fill("8");
  await page.click("#form button.primary");
  await page.evaluate(() => { window.marker = "here"; });
  await status(page, "succeeded");
  assert.equal(await page.evaluate(() => window.marker), "here");
  await page.click("details.menu > summary");
  await page.click("text=Sign out");
  await shown(page, "h1", /Sign in/);
  assert.deepEqual(proxy.asked.filter((u) => !u.startsWith("/errand/")), [], "asked outside of the path");
  assert.ok(proxy.asked.some((u) => u.startsWith("/errand/live")) && kafka);
  page.faults = page.faults.filter((f) => !/status of 404/.test(f));
  sound(page);
});
