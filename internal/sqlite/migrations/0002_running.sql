-- Tasks that have not ended are few, whatever the history: claims, sweeps, lanes
-- and heartbeats touch this table only.
CREATE TABLE live (
	project_key INTEGER NOT NULL,
	id          TEXT NOT NULL,
	scope       INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	engine      TEXT NOT NULL,
	operation   TEXT NOT NULL,
	lane        TEXT NOT NULL,    -- '' is none
	running     INTEGER NOT NULL, -- 0 or 1
	ready       INTEGER NOT NULL, -- 1: pending, and nothing in its lane comes first
	run_at      INTEGER NOT NULL,
	due         INTEGER NOT NULL,
	run         TEXT NOT NULL,    -- JSON, without secrets
	PRIMARY KEY (project_key, id)
) WITHOUT ROWID;

-- The rule of lanes, once more, where nothing can get past it.
CREATE UNIQUE INDEX live_running ON live (scope, lane) WHERE running = 1 AND lane <> '';
CREATE UNIQUE INDEX live_head ON live (scope, lane) WHERE ready = 1 AND lane <> '';
CREATE INDEX live_lane ON live (scope, lane, running DESC, run_at, id);
CREATE INDEX live_ready ON live (project_key, run_at, id) WHERE ready = 1;
CREATE INDEX live_ready_all ON live (run_at, id) WHERE ready = 1;
CREATE INDEX live_ready_of ON live (project_key, operation, run_at, id) WHERE ready = 1;
CREATE INDEX live_ready_of_all ON live (operation, run_at, id) WHERE ready = 1;
CREATE INDEX live_due ON live (due, id);

-- The sealed secrets of tasks that have not ended, apart because a heartbeat
-- must not write them again.
CREATE TABLE secrets (
	project_key INTEGER NOT NULL,
	id          TEXT NOT NULL,
	sealed      BLOB NOT NULL,
	PRIMARY KEY (project_key, id)
);

-- What is kept of the runs of tasks that have ended.
CREATE TABLE runs (
	project_key INTEGER NOT NULL,
	id          TEXT NOT NULL,
	run         TEXT NOT NULL,    -- JSON, without lease and secrets
	PRIMARY KEY (project_key, id)
) WITHOUT ROWID;

-- Tasks that were submitted to run later.
CREATE TABLE scheduled (
	scope      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	id         TEXT NOT NULL,
	PRIMARY KEY (scope, created_at, id)
) WITHOUT ROWID;

-- Which tasks idempotency keys were used for. A key outlives the record of its
-- task: who sends it again must not get a second one.
CREATE TABLE submit_keys (
	project_key INTEGER NOT NULL,
	key         TEXT NOT NULL,
	task        TEXT NOT NULL,
	digest      TEXT NOT NULL,
	expires     INTEGER NOT NULL,
	PRIMARY KEY (project_key, key)
) WITHOUT ROWID;

CREATE INDEX submit_keys_by_expiry ON submit_keys (expires);

-- Logs in pieces, each with its place in the whole.
CREATE TABLE task_log (
	project_key INTEGER NOT NULL,
	id          TEXT NOT NULL,
	at          INTEGER NOT NULL, -- bytes before it
	text        BLOB NOT NULL,
	PRIMARY KEY (project_key, id, at)
) WITHOUT ROWID;

-- How long the latest successful attempts of an operation took.
CREATE TABLE durations (
	project_key INTEGER NOT NULL,
	engine      TEXT NOT NULL,
	operation   TEXT NOT NULL,
	n           INTEGER NOT NULL, -- grows
	took        INTEGER NOT NULL, -- microseconds
	PRIMARY KEY (project_key, engine, operation, n)
) WITHOUT ROWID;

CREATE INDEX events_by_project ON events (project, seq);
