// Draws docs/images anew from the demo: make pictures.
import { execFile } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { errand, launch, signIn, start, until, visitor } from "./stage.js";

const images = fileURLToPath(new URL("../docs/images/", import.meta.url));
const most = 150_000; // bytes of a picture

const demo = await start(["demo", "--listen", "127.0.0.1:0"], [/(http:\/\/127\.0\.0\.1:\d+)\S*\s+\(user (\S+), password (\S+)\)/, /^export (ERRAND_SERVER=.*)/, /^ready/]);
let browser;
try {
  const [, url, user, password] = demo.found[0];
  browser = await launch();
  const look = async (options) => {
    const page = await visitor(null, browser, url, options);
    await signIn(page, user, password);
    return page;
  };
  await mkdir(images, { recursive: true });
  const draw = async (page, name, options = {}) => {
    await page.evaluate(() => document.activeElement.blur());
    await page.mouse.move(0, 0);
    const path = `${images}${name}.png`;
    await page.screenshot({ path, ...options });
    const { size } = await stat(path);
    if (size > most) throw new Error(`${path} has ${size} bytes, more than ${most}`);
    console.log(path, size);
  };

  // More on one instance than the demo does by itself: a queue, an end that nobody
  // wished, something cancelled.
  const env = Object.fromEntries(demo.found[1][1].split(" ").map((x) => x.split("=")));
  const cli = (...args) => promisify(execFile)(errand, args, { env: { PATH: process.env.PATH, HOME: images, ...env } });
  const name = "redis-sessions";
  for (let n = 0; n < 3; n++) await cli("submit", "EXTEND", "--instance", name, "--param", "old_capacity=4", "--param", "new_capacity=8");
  const { stdout } = await cli("submit", "failOver", "--instance", name, "-o", "json");
  await cli("cancel", JSON.parse(stdout).id, "--reason", "not tonight");

  // Something has ended, something runs and is neither new nor nearly done.
  const page = await look();
  const number = async (nth) => Number(await page.locator(`#counts .tile:nth-child(${nth}) .big`).innerText());
  await until("enough has happened", async () => await number(5) >= 9 && await number(4) >= 1 && await number(1) >= 2, 240_000);
  await draw(page, "overview", { fullPage: true });

  await page.at("tasks");
  const redis = await page.locator("#table tr", { hasText: "EXTEND" }).locator("a[href*='instances/']").first().getAttribute("href");
  const busy = await look({ colorScheme: "dark" });
  await until("a task is in its middle", async () => {
    await page.at();
    const rows = await page.locator("#running li").evaluateAll((all) => all.map((e) => [e.querySelector("a").href, e.querySelector("progress").value]));
    const found = rows.find(([, percent]) => percent >= 30 && percent <= 75);
    if (!found) return false;
    await busy.goto(found[0]);
    return await busy.locator("#head .chip.running").count() && await busy.locator("#why tbody tr").count() > 1;
  }, 120_000);
  await draw(busy, "task");

  // Where it is evening, so that the day has something to show.
  const east = ((20 - new Date().getUTCHours() + 36) % 24) - 12;
  const evening = await look({ timezoneId: east === 0 ? "UTC" : `Etc/GMT${east > 0 ? "-" : "+"}${Math.abs(east)}` });
  await evening.at(redis.replace(/^(\.\.?\/)+/, "") + "?zoom=day");
  await draw(evening, "instance");
  await page.at(`submit?instance=${redis.split("/").pop()}&operation=EXTEND`);
  await page.fill("[name='/old_capacity']", "4");
  await page.fill("[name='/new_capacity']", "8");
  await draw(page, "submit", { fullPage: true });

  await draw(await look({ locale: "zh-CN", colorScheme: "dark" }), "overview-zh", { fullPage: true });
  await draw(await look({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }), "phone");
} finally {
  await browser?.close();
  await demo.stop();
}
