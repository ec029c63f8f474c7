// Who comes in, and who is sent away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { admin, launch, redis, server, shown, signIn, sound, status, until, visitor } from "./stage.js";

let s, browser;
before(async () => { s = await server(["--lease", "2s"]); browser = await launch(); });
after(async () => { await browser?.close(); await s?.stop(); });

test("a password: the wrong one, the right one, and back to where one wanted to go", async (t) => {
  const page = await visitor(t, browser, s.url);
  await page.at(`instances/${redis}?zoom=week`);
  assert.match(page.path(), /^signin\?next=/);
  await page.fill("#user", "admin");
  await page.fill("#password", "not this one");
  await page.click("main form button");
  await shown(page, "main [role=alert]", /name or the password is wrong/);
  assert.equal(await page.inputValue("#user"), "admin", "what was typed is kept");
  assert.ok(page.faults.every((f) => /status of 401/.test(f)), page.faults);
  page.faults.length = 0;
  await admin(page, s);
  assert.equal(page.path(), `instances/${redis}?zoom=week`);
  await shown(page, "h1", /sessions/);

  await page.click("details.menu > summary");
  await page.click("text=Sign out");
  await shown(page, "h1", /Sign in/);
  await page.at("tasks");
  assert.match(page.path(), /^signin/);
  sound(page);
});

test("an access key", async (t) => {
  const page = await visitor(t, browser, s.url);
  await page.at("signin");
  await page.click("text=Sign in with an access key");
  await page.fill("#access", s.env.HUAWEICLOUD_SDK_AK);
  await page.fill("#secret", s.env.HUAWEICLOUD_SDK_SK);
  await page.click("main form button");
  await shown(page, "h1", /Overview/);
  sound(page);
});

test("a viewer is offered nothing to do, and refused", async (t) => {
  const password = await s.user("vera", "viewer");
  const task = await s.submit("elsewhere");
  const page = await visitor(t, browser, s.url);
  await signIn(page, "vera", password);
  for (const path of ["", "instances", `instances/${redis}`, "tasks", `tasks/${task}`]) {
    await page.at(path);
    assert.equal(await page.locator("text=/^(Submit|Submit a task|Cancel the task)$/").count(), 0, path);
    assert.equal(await page.locator("nav >> text=Users and keys").count(), 0, path);
  }
  sound(page);
  const refused = await page.request.post(`${s.url}/tasks/${task}/cancel`, { form: {}, headers: { Origin: s.url } });
  assert.equal(refused.status(), 403);
  const users = await page.at("users");
  assert.equal(users.status(), 403);
  await shown(page, "main [role=alert]", /\S/);
  const form = await page.at(`submit?instance=${redis}&operation=brief`); // who types the address is given no form
  assert.equal(form.status(), 403);
  await shown(page, "main [role=alert]", /\S/);
  const sent = await page.request.post(`${s.url}/submit`, { form: { instance: redis, operation: "brief" }, headers: { Origin: s.url } });
  assert.equal(sent.status(), 403);
  assert.equal((await s.json(["list"])).total, 1, "nothing was submitted");
  assert.equal((await s.json(["show", task])).status, "pending");
});

