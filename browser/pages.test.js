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

  await page.focus("details.menu > summary");
  await page.keyboard.press("Enter");
  await until("the menu is open", () => page.locator("details.menu[open]").count());
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.closest(".sheet") !== null), true, "its buttons come next");
  await page.keyboard.press("Escape");
  await until("the menu is closed", async () => !await page.locator("details.menu[open]").count());
  assert.equal(await focused(), "SUMMARY", "the focus is where it was");
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
