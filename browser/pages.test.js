// Every page, in every look: for people who use a keyboard, a phone, a reader of
// screens, another language.
import assert from "node:assert/strict";
import { mkdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { furnish } from "./pages.js";
import { admin, launch, redis, server, shown, sound, until, visitor } from "./stage.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = fileURLToPath(new URL("screenshots/", import.meta.url));

let s, browser, pages;
before(async () => { s = await server(); browser = await launch(); pages = await furnish(s); });
after(async () => { await browser?.close(); await s?.stop(); });

const signedIn = async (t, options) => {
  const page = await visitor(t, browser, s.url, options);
  await admin(page, s);
  return page;
};

// missing pages are answered as such, which the browser notes too.
const expected = (page) => { page.faults = page.faults.filter((f) => !/status of 404/.test(f)); sound(page); };

test("language and colours are kept from page to page", async (t) => {
  const page = await signedIn(t);
  const root = () => page.evaluate(() => [document.documentElement.lang, document.documentElement.dataset.theme ?? ""]);
  assert.deepEqual(await root(), ["en", ""]);
  await page.at(`instances/${redis}?zoom=week`);
  for (const [button, lang, theme] of [["中文", "zh-CN", ""], ["深色", "zh-CN", "dark"], ["English", "en", "dark"], ["Light", "en", "light"], ["As the device", "en", ""]]) {
    await page.click("details.menu > summary");
    await Promise.all([page.waitForNavigation(), page.click(`.sheet >> text=${button}`)]);
    assert.equal(page.path(), `instances/${redis}?zoom=week`, "one stays on the page");
    assert.deepEqual(await root(), [lang, theme], button);
    await page.at("tasks");
    assert.deepEqual(await root(), [lang, theme], `${button}, on the next page`);
    await page.at(`instances/${redis}?zoom=week`);
  }
  sound(page);
});

test("a browser that prefers Chinese gets it, and times in its zone", async (t) => {
  const page = await signedIn(t, { locale: "zh-CN", timezoneId: "Asia/Shanghai", colorScheme: "dark" });
  assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN");
  await shown(page, "h1", /概览|总览/);
  await page.at("tasks");
  await until("times are in the viewer's zone", async () => await page.locator("html").getAttribute("data-zone") === "Asia/Shanghai");
  const time = page.locator("#table time").first();
  const at = new Date(new Date(await time.getAttribute("datetime")).getTime() + 8 * 3_600_000).toISOString();
  assert.equal(await time.innerText(), at.slice(0, 19).replace("T", " "));
  sound(page);
});

// What a page says that comes from nobody's hands: its own words, not names and ids.
const words = (page) => page.evaluate(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (n) => (n.parentElement.closest("bdi, code, pre, time, script, svg, .method, .call, button[lang]") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
  const all = [];
  while (walker.nextNode()) if (walker.currentNode.data.trim()) all.push({ text: walker.currentNode.data.trim(), at: walker.currentNode.parentElement.localName });
  for (const e of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
    if (!e.closest("time, code, svg a")) for (const name of ["aria-label", "title", "placeholder"]) if (e.getAttribute(name)?.trim()) all.push({ text: e.getAttribute(name).trim(), at: `${e.localName} ${name}` });
  }
  return all;
});

test("a page in Chinese has no English words of its own", async (t) => {
  const zh = JSON.parse(await readFile(new URL("../internal/console/locale/zh.json", import.meta.url), "utf8"));
  const english = new Set(Object.keys(zh).filter((k) => zh[k] !== k && !k.includes("%")));
  const page = await signedIn(t, { locale: "zh-CN" }), out = await visitor(t, browser, s.url, { locale: "zh-CN" });
  // Names: of products, engines and operations, of what is set up here, examples of input.
  const names = /^(Errand( \S+)?|English|API|ID|JSON|AK|SK|UTC|Kafka|RocketMQ|RabbitMQ|Redis|DCS|kafka|rocketmq|rabbitmq|redis|EXTEND|[A-Z0-9_]+|default|admin|vera|ops_chen|sessions|orders|north|south|noeviction|allkeys-lru|cn-north-4|Python|Go|Terraform|OpenAPI|JSON Schema|30m, 2h|12h|(sessions|orders) · .*)$/;
  const found = new Map();
  let looked = 0;
  for (const { name, path } of [...pages, { name: "signin", path: "signin" }, { name: "signin-key", path: "signin?by=key" }]) {
    const at = name.startsWith("signin") ? out : page;
    await at.at(path);
    assert.equal(await at.evaluate(() => document.documentElement.lang), "zh-CN", name);
    for (const w of [...await words(at), { text: (await at.title()).replace(/ · Errand$/, ""), at: "title" }]) {
      looked++;
      const plain = /^[\x20-\x7e–·…→]*$/.test(w.text) && /[A-Za-z]{2}/.test(w.text);
      const head = /^(h1|h2|h3|th|label|legend|button|summary|dt|a|option)$/.test(w.at);
      if (name === "reference" && w.at === "h2" && /^[a-z-]+$/.test(w.text)) continue; // a part of the document, which is English
      if (w.at === "title" && names.test(w.text)) continue;
      if (english.has(w.text) || plain && head && !names.test(w.text)) found.set(`${w.at}: ${w.text.slice(0, 80)}`, [...(found.get(`${w.at}: ${w.text.slice(0, 80)}`) ?? []), name]);
    }
  }
  assert.ok(looked > 1000, `it looked at ${looked} texts only`);
  assert.deepEqual([...found].map(([what, where]) => `${what} (${where.join(", ")})`), []);
  expected(page);
});

test("no page has a script or a style of its own", async (t) => {
  const page = await signedIn(t);
  for (const { name, path } of [...pages, { name: "signin", path: "signin" }]) {
    const html = await (await page.request.get(`${s.url}/${path}`)).text();
    const own = await page.evaluate((text) => [...new DOMParser().parseFromString(text, "text/html").querySelectorAll("*")]
      .filter((e) => e.localName === "style" || e.localName === "script" && (!e.hasAttribute("src") || e.textContent.trim()) || [...e.attributes].some((a) => a.name === "style" || a.name.startsWith("on") || /^\s*javascript:/i.test(a.value)))
      .map((e) => e.outerHTML.slice(0, 200)), html);
    assert.deepEqual(own, [], name);
  }
  sound(page);
});

test("no page of a phone has to be pushed sideways", async (t) => {
  for (const options of [{}, { locale: "zh-CN" }]) {
    const page = await signedIn(t, { viewport: { width: 375, height: 740 }, isMobile: true, hasTouch: true, ...options });
    for (const { name, path } of [...pages, { name: "signin", path: "signin" }]) {
      await page.at(path);
      const wide = await page.evaluate(() => ({ page: document.documentElement.scrollWidth, window: innerWidth, screen: screen.width }));
      assert.ok(wide.page <= wide.window && wide.page <= 375, `${name}: ${JSON.stringify(wide)}`);
    }
    expected(page);
  }
});

test("on a phone every part of the console is a touch away", async (t) => {
  const page = await signedIn(t, { viewport: { width: 375, height: 800 }, isMobile: true, hasTouch: true });
  const count = await page.locator("nav a").count();
  assert.ok(count >= 7, `${count} links`);
  for (let n = 0; n < count; n++) {
    const link = page.locator("nav a").nth(n);
    await link.scrollIntoViewIfNeeded();
    const box = await link.boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 375 && box.height >= 24, JSON.stringify(box));
    await Promise.all([page.waitForNavigation(), link.tap()]);
    assert.equal(await page.locator("nav a").nth(n).getAttribute("aria-current"), "page");
    const at = await page.locator("nav a").nth(n).boundingBox();
    assert.ok(at.x >= 0 && at.x + at.width <= 376, `where one is can be seen: ${await page.locator("nav a").nth(n).innerText()}: ${JSON.stringify(at)}`);
  }
  await page.tap("details.menu > summary");
  const sheet = await page.locator(".sheet").boundingBox();
  assert.ok(sheet.x >= 0 && sheet.x + sheet.width <= 375, JSON.stringify(sheet));
  sound(page);
});

test("axe finds nothing serious, in light and in dark", async (t) => {
  const found = new Map(), minor = new Map(); // what, and where
  for (const colorScheme of ["light", "dark"]) {
    const out = await visitor(t, browser, s.url, { colorScheme }), page = await signedIn(t, { colorScheme });
    for (const { name, path } of [...pages, { name: "signin", path: "signin" }, { name: "signin-key", path: "signin?by=key" }]) {
      const at = name.startsWith("signin") ? out : page;
      await at.at(path);
      await at.evaluate(axe);
      const { violations } = await at.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const v of violations) {
        for (const n of v.nodes) {
          const what = `${v.id}, ${v.impact}: ${n.target.join(" ")}: ${n.html.slice(0, 300)}: ${n.failureSummary.split("\n").slice(1).join(";").trim()}`;
          const all = v.impact === "serious" || v.impact === "critical" ? found : minor;
          all.set(what, [...(all.get(what) ?? []), `${name}/${colorScheme}`]);
        }
      }
    }
    expected(page);
  }
  const told = (all) => [...all].map(([what, where]) => `${what} (${where.join(", ")})`);
  for (const line of told(minor)) t.diagnostic(line);
  assert.deepEqual(told(found), []);
});

test("a keyboard is enough", async (t) => {
  const page = await signedIn(t);
  await page.at("tasks");
  await page.keyboard.press("Tab");
  const focused = () => page.evaluate(() => { const e = document.activeElement; return e.className || e.id || e.tagName; });
  assert.equal(await focused(), "skip");
  const box = await page.locator(".skip").boundingBox();
  assert.ok(box.x >= 0, "it is seen when it has the focus");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "main");
  assert.ok(await page.evaluate(() => { const b = document.querySelector("h1").getBoundingClientRect(); return document.elementFromPoint(b.x + 4, b.y + 4)?.closest("h1") !== null; }), "the heading is not behind the bar");

  await page.focus("details.menu > summary");
  await page.keyboard.press("Enter");
  await until("the menu is open", () => page.locator("details.menu[open]").count());
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.closest(".sheet") !== null), true, "its buttons come next");
  await page.keyboard.press("Escape");
  await until("the menu is closed", async () => !await page.locator("details.menu[open]").count());
  assert.equal(await focused(), "SUMMARY", "the focus is where it was");

  // From the address to a task that is submitted, and it is always seen where one is.
  await page.at(`submit?instance=${redis}&operation=resize`);
  const seen = [];
  const next = async () => {
    await page.keyboard.press("Tab");
    const now = await page.evaluate(() => {
      const e = document.activeElement, look = getComputedStyle(e), b = e.getBoundingClientRect();
      const on = document.elementFromPoint(Math.max(1, b.x + Math.min(b.width / 2, 20)), b.y + b.height / 2);
      return { name: e.name || e.className || e.textContent.trim(), outline: look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2, there: b.width > 0 && (e === on || e.contains(on) || Boolean(on?.contains(e))), tag: e.localName };
    });
    assert.ok(now.outline && now.there, `the focus is seen: ${JSON.stringify(now)}`);
    seen.push(now.name);
    return now;
  };
  const to = async (name) => { for (let n = 0; n < 40; n++) if ((await next()).name === name) return; assert.fail(`${name} is not reached: ${seen.join(", ")}`); };
  await to("/capacity");
  assert.ok(seen.includes("skip") && seen.includes("brand") && seen.includes("Overview") && seen.includes("Tasks"), seen.join(", "));
  await page.keyboard.type("8");
  await to("/zone");
  await to("/owner");
  await page.keyboard.type("Keys");
  await to("secret.password");
  await to("primary");
  await page.keyboard.press("Enter");
  await shown(page, ".notice", /is submitted/);
  sound(page);
});

test("a first visit is small, and asks nobody else", async (t) => {
  const page = await visitor(t, browser, s.url);
  const wire = await page.context().newCDPSession(page);
  let bytes = 0;
  const asked = [];
  await wire.send("Network.enable");
  wire.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; });
  page.on("response", (r) => asked.push(r));
  await page.at();
  await admin(page, s);
  await shown(page, "h1", /Overview/);
  await until("all has come", async () => bytes > 0 && await page.evaluate(() => document.readyState === "complete"));
  t.diagnostic(`${(bytes / 1000).toFixed(1)} kB in ${asked.length} requests`);
  assert.ok(bytes < 100_000, `${bytes} bytes`);
  for (const r of asked) {
    const policy = r.headers()["content-security-policy"] ?? "";
    assert.match(policy, /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/, r.url());
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/, r.url());
  }
  const cookies = await page.context().cookies();
  const session = cookies.find((c) => /^errand-\d+$/.test(c.name));
  assert.ok(session?.httpOnly && session.sameSite === "Lax", JSON.stringify(cookies));
  sound(page);
});

test("pictures of every page in every look", async (t) => {
  await rm(pictures, { recursive: true, force: true });
  const looks = { "light-en": {}, "dark-en": { colorScheme: "dark" }, "light-zh": { locale: "zh-CN" }, "dark-zh": { locale: "zh-CN", colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } };
  for (const [look, options] of Object.entries(looks)) {
    const out = await visitor(t, browser, s.url, options), page = await signedIn(t, options);
    await mkdir(pictures + look, { recursive: true });
    for (const { name, path } of [...pages, { name: "signin", path: "signin" }, { name: "signin-key", path: "signin?by=key" }]) {
      const at = name.startsWith("signin") ? out : page;
      await at.at(path);
      await at.screenshot({ path: `${pictures}${look}/${name}.png`, fullPage: name !== "reference" });
    }
    await page.at();
    await page.click("details.menu > summary");
    await page.screenshot({ path: `${pictures}${look}/menu.png` });
    expected(page);
  }
  t.diagnostic(`they are in ${pictures}`);
});
