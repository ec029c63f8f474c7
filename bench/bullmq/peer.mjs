// The driver of BullMQ on Redis: the commands and answers of drive/drive.go, one
// JSON object a line. The first argument is the address of Redis.
import { createInterface } from "node:readline";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const [host, port] = process.argv[2].split(":");
const connect = () => new Redis({ host, port: Number(port), maxRetriesPerRequest: null });
const connection = connect();
const now = () => performance.now();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const started = now();
const queue = new Queue("bench", { connection });
const listed = new Queue("owner0", { connection }); // of owner 0: the only one that is listed
await Promise.all([queue.waitUntilReady(), listed.waitUntilReady()]);

let seq = 0;
let worker = null;
const waits = new Map(); // what is told of a task, by seq
let expected = null;

const payload = (n) => ({ seq: n, name: "log.retention.hours", value: "72" });
const submit = (n) => queue.add("bench", payload(n));

function quantile(sorted, q) {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

function result(times, ms) {
  times.sort((a, b) => a - b);
  return { count: times.length, seconds: ms / 1000, p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

// submitLoad is submit of drive/measure.go.
async function submitLoad({ clients, seconds }) {
  const start = now() + seconds * 200;
  const end = start + seconds * 1000;
  const times = [];
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let began = now(); began < end; began = now()) {
        await submit(++seq);
        if (began >= start) times.push(now() - began);
      }
    }),
  );
  return result(times, now() - start);
}

async function work(n) {
  worker = new Worker(
    "bench",
    async (job) => {
      const w = waits.get(job.data.seq);
      if (w) w.begun = now();
    },
    { connection: connect(), concurrency: n },
  );
  worker.on("completed", (job) => {
    waits.get(job.data.seq)?.done(now());
    if (expected && ++expected.count === expected.all) expected.done();
  });
  await worker.waitUntilReady();
}

async function rest() {
  await worker?.close();
  worker = null;
}

async function latency({ workers, seconds }) {
  await work(workers);
  const begun = [];
  const done = [];
  const start = now();
  for (let warm = true; now() - start < seconds * 1000 || done.length === 0; warm = false) {
    await sleep(5 + Math.random() * 15);
    const n = ++seq;
    const w = {};
    const ended = new Promise((resolve) => (w.done = resolve));
    waits.set(n, w);
    const began = now();
    await submit(n);
    const at = await ended;
    waits.delete(n);
    if (warm) continue;
    done.push(at - began);
    begun.push(w.begun - began);
  }
  const r = result(done, now() - start);
  const b = result(begun, 0);
  await rest();
  return { ...r, begun_p50: b.p50, begun_p99: b.p99 };
}

async function many(into, first, n) {
  for (let from = 0; from < n; from += 1000) {
    const some = [];
    for (let i = from; i < Math.min(n, from + 1000); i++) some.push({ name: "bench", data: payload(first + i) });
    await into.addBulk(some);
  }
}

async function drain({ tasks, workers, seconds }) {
  await many(queue, seq + 1, tasks);
  seq += tasks;
  expected = { all: tasks, count: 0 };
  const all = new Promise((resolve) => (expected.done = resolve));
  const start = now();
  await work(workers);
  await Promise.race([all, sleep(seconds * 1000)]);
  const r = { count: expected.count, seconds: (now() - start) / 1000 };
  expected = null;
  await rest();
  return r;
}

async function fill({ tasks }) {
  const start = now();
  await many(listed, 0, Math.floor(tasks / 10)); // queues are keys of their own in Redis
  return { count: tasks, seconds: (now() - start) / 1000 };
}

async function page(offset, total) {
  const jobs = await listed.getJobs(["waiting"], offset, offset + 9);
  return { rows: jobs.length, total: total ? await listed.getWaitingCount() : 0 };
}

async function list({ seconds, deep, total }) {
  const all = (await page(0, true)).total;
  const offset = deep ? Math.floor(all / 10) * 9 : 0;
  const times = [];
  const start = now();
  while (now() - start < seconds * 1000 || times.length < 3) {
    const began = now();
    const p = await page(offset, total);
    if (p.rows !== Math.min(10, all)) throw new Error(`a page has ${p.rows} rows of ${all}`);
    times.push(now() - began);
  }
  return { ...result(times, now() - start), total: all };
}

const commands = {
  submit: submitLoad, latency, drain, fill, list,
  work: async ({ workers }) => (await work(workers), {}),
  rest: async () => (await rest(), {}),
};

const answer = (o) => process.stdout.write(JSON.stringify(o) + "\n");
answer({ start_ms: now() - started, pids: [], deep: true });
for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line);
  if (c.do === "quit") break;
  try {
    answer(await commands[c.do](c));
  } catch (e) {
    answer({ error: String(e) });
  }
}
await rest();
await Promise.all([queue.close(), listed.close()]);
process.exit(0);
