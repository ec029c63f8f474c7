// Every page of the console, with something on it.
import { kafka, redis } from "./stage.js";

// furnish makes what pages show, and lists the pages.
export async function furnish(s) {
  const running = await s.submit("hold"), behind = await s.submit("hold"), stuck = await s.submit("elsewhere");
  const later = await s.submit("elsewhere", ["--run-at", "5h"]);
  const done = await s.submit("resize", ["--param", "capacity=32", "--param", "owner=Ann"]);
  const failed = await s.submit("unlucky"), told = await s.submit("talk");
  await s.cli(["import", "-", "--instance", kafka], { stdin: JSON.stringify({ task_count: "40", tasks: Array.from({ length: 40 }, (_, n) => ({
    id: n.toString(16).padStart(32, "b"), name: "kafkaConfigModify", status: n % 3 ? "SUCCESS" : "FAILED", user_name: "terraform", reason: n % 3 ? "" : "the broker did not come back",
    created_at: new Date(Date.now() - (n + 1) * 3_600_000).toISOString(), updated_at: new Date(Date.now() - (n + 0.6) * 3_600_000).toISOString(),
  })) }) });
  await s.user("vera", "viewer");
  await s.user("ops_chen", "operator");
  for (const id of [done, failed, told]) await s.ended(id);
  const access = s.env.HUAWEICLOUD_SDK_AK;
  return [
    ["overview", ""], ["instances", "instances"], ["instances-new", "instances?new=1"], ["instances-none", "instances?q=nothing"],
    ["instance", `instances/${redis}`], ["instance-hour", `instances/${redis}?zoom=hour`], ["instance-kafka", `instances/${kafka}?zoom=week`],
    ["tasks", "tasks"], ["tasks-search", "tasks?status=failed"], ["tasks-none", "tasks?from=2001-01-01T00:00&to=2001-01-02T00:00"],
    ["task-running", `tasks/${running}`], ["task-behind", `tasks/${behind}`], ["task-stuck", `tasks/${stuck}`], ["task-done", `tasks/${done}`],
    ["task-failed", `tasks/${failed}`], ["task-log", `tasks/${told}`], ["task-imported", `tasks/${"0".padStart(32, "b")}`],
    ["cancel", `tasks/${running}/cancel`], ["move", `tasks/${later}/move`], ["retry", `tasks/${done}/retry`], ["delete", `tasks/${failed}/delete`],
    ["submit", "submit"], ["submit-operation", `submit?instance=${redis}`], ["submit-form", `submit?instance=${redis}&operation=resize`], ["submit-rich", `submit?instance=${redis}&operation=tune`], ["submit-built-in", `submit?instance=${redis}&operation=EXTEND`],
    ["operations", "operations"], ["operation", "operations/redis/resize"], ["workers", "workers"], ["users", "users"], ["user", "users/vera"], ["user-admin", "users/admin"],
    ["revoke", `keys/${access}/revoke?back=users/admin`], ["reference", "reference"], ["project", "project"], ["missing", "tasks/0123456789abcdef0123456789abcdef"],
  ].map(([name, path]) => ({ name, path }));
}

// allowed is what a page is answered with.
export const allowed = (name) => (name === "missing" ? 404 : 200);
