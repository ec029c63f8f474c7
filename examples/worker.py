"""A worker over plain HTTP and Python's standard library: python3 worker.py OPERATION...  See README.md."""
import json, os, socket, sys, threading, time, urllib.request

SERVER, PROJECT = os.environ["ERRAND_SERVER"], os.environ["HUAWEICLOUD_SDK_PROJECT_ID"]
token = ""


def send(path, body):
    headers = {"Content-Type": "application/json", "X-Auth-Token": token}
    request = urllib.request.Request(SERVER + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer), answer.headers


def persist(path, body):
    """Sends until there is an answer, or None when the lease is lost (409) or the request is wrong (400)."""
    global token
    while True:
        try:
            return send(f"/api/v1/projects/{PROJECT}/{path}", body)[0]
        except OSError as e:
            if getattr(e, "code", 0) in (400, 409):
                return print(path.split("/")[-1], "refused:", e.read().decode(), file=sys.stderr)
            if getattr(e, "code", 0) == 401:  # the first token, or the next one after a day
                user = {"name": os.environ["ERRAND_USER"], "password": os.environ["ERRAND_PASSWORD"]}
                auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": {"id": PROJECT}}}
                token = send("/v3/auth/tokens", {"auth": auth})[1]["X-Subject-Token"]
            else:
                time.sleep(1)


def work(task, secrets, progress, stop):
    """Does the work. Replace this."""
    for percent in range(0, 100, 20):
        progress.update(percent=percent, steps=[{"name": "working", "status": "running"}])
        if stop.wait(float(os.environ.get("STEP_SECONDS", "1"))):
            return {"status": "cancelled"}
    return {"status": "succeeded", "result": json.loads(task["params"]), "log": "done\n"}


def run(grant):
    lease, progress, stop, done = "leases/" + grant["token"], {"percent": 0}, threading.Event(), threading.Event()
    def beat():  # three times in the life of the lease
        while not done.wait(grant["ttl_seconds"] / 3):
            answer = persist(lease + "/extend", {"progress": progress})
            if answer is None or answer["stop"]:
                stop.set()
    threading.Thread(target=beat, daemon=True).start()
    try:
        outcome = work(grant["task"], grant.get("secrets", {}), progress, stop)
    except Exception as e:
        outcome = {"status": "failed", "reason": repr(e)[:200]}
    done.set()
    persist(lease + "/finish", outcome)


while True:
    claim = {"worker": f"{socket.gethostname()}:{os.getpid()}", "operations": sys.argv[1:], "wait_seconds": 30}
    for granted in (persist("claims", claim) or sys.exit(1))["grants"]:
        run(granted)
