// What people do with tasks: submit, watch, cancel, read, find.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { admin, kafka, launch, redis, server, shown, sound, status, until, visitor } from "./stage.js";

let s, browser;
before(async () => { s = await server(["--lease", "3s"]); browser = await launch(); });
after(async () => { await browser?.close(); await s?.stop(); });

const signedIn = async (t, options) => {
  const page = await visitor(t, browser, s.url, options);
  await admin(page, s);
  return page;
};
const mark = (page) => page.evaluate(() => { window.marker = "here"; });
const marked = async (page) => assert.equal(await page.evaluate(() => window.marker), "here", "the page was loaded again");

test("submit from the form, and watch it without a reload", async (t) => {
  const page = await signedIn(t);
  await page.click("nav >> text=Submit");
  await page.selectOption("#instance", redis);
  await page.click("text=Go on");
  await page.click("text=Resize the instance");
  await page.getByLabel(/^capacity/).fill("640");
  await page.getByLabel(/^owner/).fill("Ann \"<b>\"");
  await page.getByLabel(/^password/).fill("not to be seen");
  await page.click("#form button.primary");
  await shown(page, ".field:has([name='/capacity']) .problem", /at most 64/);
  assert.equal(await page.getByLabel(/^capacity/).inputValue(), "640");
  assert.equal(await page.getByLabel(/^owner/).inputValue(), "Ann \"<b>\"");
  assert.equal(await page.getByLabel(/^password/).inputValue(), "", "a secret does not come back");
  assert.equal(await page.getByLabel(/^capacity/).getAttribute("aria-invalid"), "true");
  assert.ok(page.faults.every((f) => /status of 400/.test(f)), page.faults);
  page.faults.length = 0;

  await page.getByLabel(/^capacity/).fill("32");
  await page.getByLabel(/^zone/).selectOption({ label: "north" });
  await page.click("#form button.primary");
  await shown(page, ".notice", /is submitted/);
  await mark(page);
  const look = async () => ({ percent: await page.locator("#why .line span").first().innerText({ timeout: 500 }), steps: await page.locator("#why tbody").innerText({ timeout: 500 }) });
  // How many states one sees on the way depends on how busy the machine is.
  const states = (steps) => steps.split("\n").map((row) => row.split("\t").slice(0, 2).join(" ")).join(", ");
  const seen = [];
  const took = async () => { const now = await look(); if (JSON.stringify(now) !== JSON.stringify(seen.at(-1))) seen.push(now); };
  await until("the task ends, seen on its page", async () => {
    await took();
    return /^succeeded$/.test(await page.locator("#head .chip").innerText({ timeout: 500 }));
  });
  await until("all steps have succeeded", async () => { await took(); return states(seen.at(-1).steps) === "check succeeded, copy succeeded, switch succeeded"; });
  assert.ok(new Set(seen.map((x) => x.percent)).size >= 3, `the percentage moves: ${JSON.stringify(seen)}`);
  assert.ok(new Set(seen.map((x) => states(x.steps))).size >= 2, `the steps move: ${JSON.stringify(seen)}`);
  await shown(page, "#why .line span", /^100 %$/);
  assert.match(await page.title(), /resize/);
  await marked(page);
  const text = await page.content();
  assert.ok(!text.includes("not to be seen") && text.includes("Ann"), "parameters are shown, secrets are not");
  sound(page);
});

test("a form of every kind of parameter: what is wrong is said beside it", async (t) => {
  const page = await signedIn(t);
  await page.at(`submit?instance=${redis}&operation=tune`);
  const field = (name) => page.locator(`[name="/${name}"]`);
  const problem = async (name, pattern) => {
    await shown(page, `.field:has(> [name="/${name}"]) .problem`, pattern);
    const about = (await field(name).getAttribute("aria-describedby") ?? "").split(" ");
    const told = await Promise.all(about.filter(Boolean).map((id) => page.locator(`[id="${id}"]`).innerText()));
    assert.match(told.join(" "), pattern, `${name}: the problem is read out with its field`);
  };
  const send = () => Promise.all([page.waitForNavigation(), page.click("#form button.primary")]);
  await field("replicas").fill("many");
  await field("rules").fill("[{");
  await send();
  await problem("policy", /needed/);
  await problem("replicas", /whole number|number/);
  await problem("backup/hour", /needed/);
  await problem("rules", /not JSON/);
  assert.deepEqual([await field("replicas").inputValue(), await field("rules").inputValue()], ["many", "[{"], "what was typed is kept");

  await field("policy").selectOption({ label: "allkeys-lru" });
  await field("persistent").selectOption({ label: "no" });
  await field("replicas").fill("9");
  await field("label").fill("Not Like This");
  await field("backup/hour").fill("24");
  await field("addresses").fill("10.0.0.1\n\n10.0.0.2\n");
  await field("rules").fill('[{"port": 6379}]');
  await page.getByLabel(/^token/).fill("seen-by-nobody");
  await send();
  await problem("replicas", /5/);
  await problem("label", /pattern|match/);
  await problem("backup/hour", /23/);
  assert.equal(await page.getByLabel(/^token/).inputValue(), "");
  await field("replicas").fill("2");
  await send(); // the service tells three things at a time
  await problem("rules", /source/);

  await field("label").fill("like-this");
  await field("backup/hour").fill("3");
  await field("rules").fill('[{"source": "10.0.0.0/8", "port": 6379}]');
  await page.getByLabel(/^token/).fill("seen-by-nobody");
  await send();
  await shown(page, ".notice", /is submitted/);
  await status(page, "succeeded");
  assert.doesNotMatch(await page.content(), /seen-by-nobody/);
  const task = await s.json(["show", page.url().split("/").pop().split("?")[0]]);
  assert.deepEqual(JSON.parse(task.params), { policy: "allkeys-lru", persistent: false, replicas: 2, label: "like-this", backup: { hour: 3 }, addresses: ["10.0.0.1", "10.0.0.2"], rules: [{ source: "10.0.0.0/8", port: 6379 }] });
  page.faults = page.faults.filter((f) => !/status of 400/.test(f));
  sound(page);
});

test("a form that is sent twice makes one task", async (t) => {
  const page = await signedIn(t);
  const count = async () => (await s.json(["list", "--instance", redis, "--operation", "brief"])).tasks.length;
  const was = await count();
  await page.at(`submit?instance=${redis}&operation=brief`);
  const form = await page.evaluate(() => Object.fromEntries(new FormData(document.getElementById("form"))));
  const sent = await Promise.all([1, 2, 3].map(() => page.request.post(`${s.url}/submit`, { form, headers: { Origin: s.url }, maxRedirects: 0 })));
  const to = new Set(sent.map((r) => r.headers().location));
  assert.deepEqual(sent.map((r) => r.status()), [303, 303, 303]);
  assert.equal(to.size, 1, "at once: all lead to one task");
  assert.equal(await count(), was + 1);
  await page.dblclick("#form button.primary"); // and again, by a finger that is too fast
  await shown(page, ".notice", /is submitted/);
  assert.equal(page.path(), [...to][0].replace(/^(\.\/)+/, ""));
  assert.equal(await count(), was + 1);
  sound(page);
});

test("the overview follows, and leaves what one has opened", async (t) => {
  const page = await signedIn(t);
  const before = await s.submit("doomed");
  await page.at();
  await mark(page);
  await until("a failure is listed", async () => await page.locator("#failed tbody tr").count() === 1);
  await page.click("#hours summary");
  await page.focus("#failed a");
  await s.submit("doomed");
  await until("both failures are listed", async () => await page.locator("#failed tbody tr").count() === 2);
  assert.equal(await page.locator("#hours[open]").count(), 1, "the numbers stay open");
  assert.match(await page.evaluate(() => document.activeElement.getAttribute("href")), new RegExp(before), "the focus stays on its link");
  await marked(page);
  sound(page);
});

// What begins and ends between two looks at the store is in no digest: the server
// rings once, and the page asks before there is anything new to see.
test("the overview shows a failure that took no time", async (t) => {
  const page = await signedIn(t);
  await page.at();
  const rows = page.locator("#failed tbody tr"), was = await rows.count();
  for (let n = 1; n <= 3; n++) {
    await s.submit("unlucky");
    await until("it is listed", async () => await rows.count() === was + n, 4000);
  }
});

test("cancel one that waits", async (t) => {
  const id = await s.submit("elsewhere");
  const page = await signedIn(t);
  await page.at(`tasks/${id}`);
  await shown(page, "#why", /No worker|worker/i);
  await page.click("text=Cancel the task");
  await shown(page, "h1", /Cancel this task\?/);
  await shown(page, "main .facts", new RegExp(`sessions[\\s\\S]*${redis}`));
  await page.fill("#reason", "not today");
  await page.click("main button.danger");
  await status(page, "cancelled");
  await shown(page, "#why", /not today/);
  const task = await s.json(["show", id]);
  assert.equal(task.status, "cancelled");

  // Another window shows it too late: it is told so, and nothing is done.
  const late = await page.at(`tasks/${id}/cancel`);
  assert.equal(late.status(), 409);
  await shown(page, "main [role=alert]", /cancelled/);
  assert.equal(await page.locator("main button.danger").count(), 0);
  const sent = await page.request.post(`${s.url}/tasks/${id}/cancel`, { form: {}, headers: { Origin: s.url } });
  assert.equal(sent.status(), 409);
  page.faults = page.faults.filter((f) => !/status of 409/.test(f));
  sound(page);
});

test("follow a log, stop following, download it", async (t) => {
  const page = await signedIn(t);
  const id = await s.submit("talk");
  await page.at(`tasks/${id}`);
  await mark(page);
  const lines = async () => (await page.locator("#log").innerText()).split("\n").filter(Boolean);
  const counts = new Set();
  await until("lines appear one after another", async () => { counts.add((await lines()).length); return counts.size >= 3; });
  await page.uncheck("#follow");
  const held = (await lines()).length;
  await status(page, "succeeded");
  assert.ok((await lines()).length <= held + 3 && (await lines()).length < 20, "it does not follow when told not to");
  await page.check("#follow");
  await until("the rest comes", async () => (await lines()).length === 20);
  assert.deepEqual(await lines(), Array.from({ length: 20 }, (_, i) => `line ${i + 1} of 20`));
  await marked(page);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download")]);
  assert.equal(await readFile(await download.path(), "utf8"), Array.from({ length: 20 }, (_, i) => `line ${i + 1} of 20\n`).join(""));
  assert.match(download.suggestedFilename(), /\.(log|txt)$/);
  sound(page);
});

test("page through a long list, and filter it", async (t) => {
  const at = (n) => new Date(Date.UTC(2026, 0, 1, 0, n)).toISOString().replace(".000", "");
  const records = Array.from({ length: 120 }, (_, n) => ({
    id: (n + 1).toString(16).padStart(32, "a"), name: n % 2 ? "kafkaConfigModify" : "bindInstancePublicIp", status: n % 4 ? "SUCCESS" : "FAILED",
    user_name: "terraform", created_at: at(n), updated_at: at(n + 1),
  }));
  const file = join(s.dir, "records.json");
  await writeFile(file, JSON.stringify({ task_count: "120", tasks: records }));
  await s.cli(["import", file, "--instance", kafka]);
  const api = await s.json(["list", "--instance", kafka]);
  assert.equal(api.total, 120);

  const page = await signedIn(t);
  for (const path of [`tasks?instance=${kafka}`, `instances/${kafka}`]) {
    await page.at(path);
    const ids = [], rows = () => page.locator("#table tbody tr td:first-child a").evaluateAll((all) => all.map((a) => a.href.split("/").pop()));
    await shown(page, "#table .pager", /^1 to 25 of 120/);
    assert.equal(await page.locator("#table a[rel=prev]").count(), 0);
    for (let first = 1; ; first += 25) {
      await shown(page, "#table .pager", new RegExp(`^${first} to ${Math.min(first + 24, 120)} of 120`));
      ids.push(...await rows());
      if (!await page.locator("#table a[rel=next]").count()) break;
      await Promise.all([page.waitForNavigation(), page.click("#table a[rel=next]")]);
    }
    assert.deepEqual(ids, records.map((r) => r.id).reverse(), "each once, the newest first");
    await Promise.all([page.waitForNavigation(), page.click("#table a[rel=prev]")]);
    await shown(page, "#table .pager", /^76 to 100 of 120/);

    await page.fill("#from", "2026-01-01T00:30");
    await page.fill("#to", "2026-01-01T00:59");
    await page.locator("form.filters button").click();
    await shown(page, "#table .pager", /^1 to 25 of 30/);
    assert.equal((await s.json(["list", "--instance", kafka, "--from", "2026-01-01T00:30:00Z", "--to", "2026-01-01T00:59:59Z"])).total, 30);
    assert.equal(await page.inputValue("#from"), "2026-01-01T00:30");
    await page.click("text=Show all");
    await until("all are shown", async () => !await page.inputValue("#from"));
  }

  await page.at(`tasks?instance=${kafka}`);
  await page.selectOption("#status", "failed");
  await page.locator("form.filters button").click();
  await shown(page, "#table", /Looked through|This is all/);
  let found = 0;
  for (;;) {
    const chips = await page.locator("#table tbody .chip").allInnerTexts();
    assert.ok(chips.every((x) => x === "failed"), chips);
    found += chips.length;
    if (!await page.locator("#table a[rel=next]").count()) break;
    await Promise.all([page.waitForNavigation(), page.click("#table a[rel=next]")]);
  }
  assert.equal(found, 30);
  sound(page);
});

test("without JavaScript", async (t) => {
  const page = await signedIn(t, { javaScriptEnabled: false });
  const id = await s.submit("hold");
  for (const path of ["", "instances", `instances/${redis}`, "tasks", `tasks/${id}`, `tasks/${id}/cancel`, "submit", `submit?instance=${redis}`,
    `submit?instance=${redis}&operation=resize`, "operations", "operations/redis/resize", "workers", "users", "users/admin", "reference", "project"]) {
    const r = await page.at(path);
    assert.equal(r.status(), 200, path);
    assert.ok((await page.locator("h1").innerText()).length, path);
    assert.equal(await page.locator(".scripted:visible").count(), 0, `${path}: what needs a script is not shown`);
  }
  await page.at(`submit?instance=${redis}&operation=elsewhere`);
  await page.click("#form button.primary");
  await status(page, "waiting");
  await page.click("text=Cancel the task");
  await page.click("main button.danger");
  await status(page, "cancelled");
  await page.at(`tasks/${id}/cancel`);
  await page.click("main button.danger");
  await page.at(`tasks/${id}`);
  await until("it is cancelled", async () => { await page.reload(); return await page.locator("#head .chip").innerText() === "cancelled"; });
  await page.click("details.menu > summary");
  await page.click("text=Sign out");
  await shown(page, "h1", /Sign in/);
  sound(page);
});
