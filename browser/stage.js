// What every test stands on: a server of the real binary with a directory of its
// own, the command line that fills it, and a browser that notes whatever goes
// wrong on a page.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const errand = fileURLToPath(new URL("../bin/errand", import.meta.url));
const patience = 20_000; // of everything that waits, in milliseconds

// until asks again until what it is told is true, and returns that.
export async function until(what, ask, limit = patience) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (e) { last = e; }
    if (Date.now() > end) throw new Error(`not within ${limit / 1000} s: ${what}: ${last}`);
    await new Promise((r) => setTimeout(r, 40));
  }
}

// lines starts a program and resolves when one of its lines fits each pattern.
export async function start(args, patterns, env = {}) {
  const child = spawn(errand, args, { env: { PATH: process.env.PATH, HOME: "/nonexistent", ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (b) => { said = (said + b).slice(-10_000); });
  const ended = new Promise((r) => child.once("exit", r));
  const lines = createInterface({ input: child.stdout });
  const found = [];
  let timer;
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error("it does not say that it is ready")), patience * 3);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`it ended with ${code}`)));
      lines.on("line", (line) => {
        said = (said + line + "\n").slice(-10_000);
        const m = patterns[found.length]?.exec(line);
        if (m) found.push(m);
        if (found.length === patterns.length) resolve();
      });
    });
  } catch (e) {
    child.kill("SIGKILL");
    throw new Error(`errand ${args.join(" ")}: ${e.message}\n${said}`);
  } finally { clearTimeout(timer); }
  return { found, async stop(signal = "SIGTERM") {
    child.kill(signal);
    const killer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(killer);
  } };
}

// Nobody has these but the tests: what a page must cope with, in the ways in which
// operations are run.
const operations = `
engine: redis
name: resize
title: Resize the instance
title_zh: 变更规格
lane: none
params:
  type: object
  required: [capacity]
  additionalProperties: false
  properties:
    capacity: {type: integer, minimum: 1, maximum: 64, description: In GB.}
    zone: {enum: [north, south]}
    owner: {type: string, maxLength: 40}
secrets: [password]
runner: {simulate: {steps: [{name: check, duration: 2s}, {name: copy, duration: 3s}, {name: switch, duration: 2s}]}}
---
engine: redis
name: tune
title: Tune the instance
title_zh: 调整参数
lane: none
params:
  type: object
  required: [policy, replicas, backup]
  additionalProperties: false
  properties:
    policy: {enum: [noeviction, allkeys-lru]}
    persistent: {type: boolean}
    replicas: {type: integer, minimum: 0, maximum: 5}
    label: {type: string, pattern: '^[a-z][a-z0-9-]*$'}
    backup: {type: object, required: [hour], additionalProperties: false, properties: {hour: {type: integer, minimum: 0, maximum: 23}, zone: {type: string}}}
    addresses: {type: array, items: {type: string}}
    rules: {type: array, items: {type: object, required: [source], properties: {source: {type: string}, port: {type: integer}}}}
secrets: [token]
runner: {simulate: {duration: 1ms}}
---
engine: redis
name: elsewhere
title: Done by somebody else
lane: none
runner: worker
---
engine: redis
name: hold
title: Hold the lane
on_lost: fail
runner: {simulate: {steps: [{name: begin, duration: 1ms}, {name: go on, duration: 1h}]}}
---
engine: redis
name: pulse
lane: none
runner: {simulate: {steps: [{name: first, duration: 1m}, {name: second, duration: 1m}]}}
---
engine: redis
name: brief
lane: none
runner: {simulate: {duration: 1ms}}
---
engine: redis
name: unlucky
lane: none
runner: {simulate: {duration: 1ms, fail_rate: 1, error_code: NoCapacity, error: the zone has no capacity left}}
---
engine: redis
name: doomed
title: Bound to fail
lane: none
runner: {simulate: {duration: 3s, fail_rate: 1, error_code: NoCapacity, error: the zone has no capacity left}}
---
engine: redis
name: talk
lane: none
runner: {program: {path: talk}}
---
engine: redis
name: hostile
lane: none
runner: {program: {path: hostile}}
`;

const talk = `#!/bin/sh
read -r input
n=1
while [ $n -le 20 ]; do echo "line $n of 20"; n=$((n + 1)); sleep 0.3; done
`;

export const redis = "5560df16-cebf-4473-95c4-d1b573c16e79";
export const kafka = "0f3c0f8c-66ac-4d3c-8a3b-2f1c6d2b9a10";

export async function server(flags = []) {
  const dir = await mkdtemp(join(tmpdir(), "errand-browser-"));
  const declared = join(dir, "operations.d");
  await mkdir(declared);
  await writeFile(join(declared, "test.yaml"), operations);
  await writeFile(join(declared, "talk"), talk, { mode: 0o755 });
  await writeFile(join(declared, "hostile"), `#!/bin/sh\nread -r input\ncat '${declared}/messages'\nexit 1\n`, { mode: 0o755 });
  await writeFile(join(declared, "messages"), "");
  const run = (listen) => start(
    ["serve", "--db", `sqlite:${dir}/errand.db`, "--listen", listen, "--operations", declared, "--drain-timeout", "0s", "--stop-timeout", "1s", ...flags],
    [/listening on (http\S+)/, /^ready/]);
  const s = { dir, declared };
  let process;
  try {
    process = await run("127.0.0.1:0");
    s.url = process.found[0][1].replace(/\/$/, "");
    s.env = Object.fromEntries((await readFile(join(dir, "credentials"), "utf8")).split("\n").filter((l) => /^\w+=/.test(l)).map((l) => {
      const [, k, v] = /^(\w+)=(.*)$/.exec(l);
      return [k, v.replace(/^'(.*)'$/, "$1").replace(/^"(.*)"$/, "$1")];
    }));
  } catch (e) {
    await process?.stop("SIGKILL");
    await rm(dir, { recursive: true, force: true });
    throw e;
  }
  s.project = s.env.HUAWEICLOUD_SDK_PROJECT_ID;
  s.kill = () => process.stop("SIGKILL");
  s.again = async () => { process = await run(new URL(s.url).host); };
  s.stop = async () => {
    await process.stop();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  };

  // cli runs a command and returns what it prints.
  s.cli = (args, { stdin = "", env = {}, fails = false } = {}) => new Promise((resolve, reject) => {
    const child = spawn(errand, args, { cwd: dir, env: { PATH: globalThis.process.env.PATH, HOME: dir, ERRAND_SERVER: s.url, ...s.env, ...env } });
    let out = "", err = "";
    child.stdout.on("data", (b) => { out += b; });
    child.stderr.on("data", (b) => { err += b; });
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.once("error", reject);
    child.once("close", (code) => (code === 0 || fails ? resolve(out) : reject(new Error(`errand ${args.join(" ").slice(0, 300)}: exit code ${code}: ${out}${err}`))));
  });
  s.json = async (args, o) => JSON.parse(await s.cli([...args, "-o", "json"], o));
  s.submit = async (operation, args = [], o) => (await s.json(["submit", operation, "--instance", redis, ...args], o)).id;
  s.ended = (id) => until(`task ${id} ends`, async () => /^(succeeded|failed|cancelled)$/.test((await s.json(["show", id])).status));
  s.user = async (name, role, password = `${name}-password`) => {
    await s.cli(["user", "add", name, "--role", `${s.project}=${role}`, "--password-stdin"], { stdin: password + "\n" });
    return password;
  };
  try {
    await s.cli(["instance", "add", "--id", redis, "--name", "sessions", "--engine", "redis", "--attr", "region=cn-north-4", "--attr", "capacity=16 GB"]);
    await s.cli(["instance", "add", "--id", kafka, "--name", "orders", "--engine", "kafka"]);
  } catch (e) {
    await s.stop();
    throw e;
  }
  return s;
}

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// visitor opens a page for somebody who was never here. Its faults are what no page
// may do: errors, dialogs, requests to anywhere else.
export async function visitor(t, browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", timezoneId: "UTC", ...options });
  context.setDefaultTimeout(patience);
  t?.after(() => context.close());
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (m) => { if (m.type() === "error") page.faults.push(`console: ${m.text()} (${m.location().url})`); });
  page.on("pageerror", (e) => page.faults.push(`error: ${e}`));
  page.on("dialog", (d) => { page.faults.push(`dialog: ${d.message()}`); d.dismiss().catch(() => {}); });
  page.on("request", (r) => { if (new URL(r.url()).origin !== new URL(url).origin) page.faults.push(`another origin: ${r.url()}`); });
  page.root = url.replace(/\/?$/, "/");
  page.at = (path = "") => page.goto(page.root + path);
  page.path = () => page.url().slice(page.root.length);
  return page;
}

// signIn fills in the form that is shown, or the page of it.
export async function signIn(page, user, password) {
  if (!page.path().startsWith("signin")) await page.at("signin");
  await page.fill("#user", user);
  await page.fill("#password", password);
  await Promise.all([page.waitForURL((u) => !u.pathname.endsWith("/signin")), page.click("main form button")]);
}

// admin signs in to the project of the tests, whatever others there are.
export async function admin(page, s) {
  await signIn(page, s.env.ERRAND_USER, s.env.ERRAND_PASSWORD);
  if (page.path().startsWith("project")) await Promise.all([page.waitForNavigation(), page.click(`main button[name=project][value="${s.project}"]`)]);
}

export const sound = (page) => assert.deepEqual(page.faults, [], "what went wrong on the pages");

// shown waits until an element has a text that fits.
export const shown = (page, selector, pattern) => until(`${selector} shows ${pattern}`, async () => {
  const text = await page.locator(selector).first().innerText();
  return pattern.test(text) && text;
});

export const status = (page, word) => shown(page, "#head .chip", new RegExp(`^${word}$`));
