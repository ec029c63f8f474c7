-- Times are microseconds since 1970 (UTC), JSON is text. The same tables serve
-- any SQL database; only the clauses after the closing brackets are SQLite's.

-- A scope is a small number for what tasks are counted and listed by: an
-- instance (all three columns set), the instances of an engine in a project
-- (instance ''), or a project (engine '' too). Numbers are never used again.
CREATE TABLE scopes (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	project  TEXT NOT NULL,
	instance TEXT NOT NULL,
	engine   TEXT NOT NULL,
	UNIQUE (project, instance, engine)
);

CREATE TABLE instances (
	scope       INTEGER PRIMARY KEY,
	grp         INTEGER NOT NULL, -- scope of the engine in the project
	project_key INTEGER NOT NULL, -- scope of the project
	project     TEXT NOT NULL,
	id          TEXT NOT NULL,
	engine      TEXT NOT NULL,
	name        TEXT NOT NULL,
	attributes  TEXT NOT NULL,    -- JSON object of strings
	created_at  INTEGER NOT NULL,
	UNIQUE (project, id)
);

-- Scopes of instances that are gone for every reader while their tasks are
-- still being removed. The counts of the group still hold those tasks.
CREATE TABLE forgotten (
	scope INTEGER PRIMARY KEY,
	grp   INTEGER NOT NULL
);

-- Clustered by instance and age: a page of a listing is one leaf or two.
CREATE TABLE tasks (
	scope       INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	id          TEXT NOT NULL,
	grp         INTEGER NOT NULL,
	project_key INTEGER NOT NULL,
	job_id      TEXT,             -- NULL where it is the id
	operation   TEXT NOT NULL,
	user_id     TEXT NOT NULL,
	user_name   TEXT NOT NULL,
	params      TEXT NOT NULL,
	details     TEXT,             -- JSON object
	status      TEXT NOT NULL,
	error_code  TEXT NOT NULL,
	reason      TEXT NOT NULL,
	origin      TEXT,             -- the provider's status word; NULL unless imported
	percent     INTEGER,          -- NULL without progress
	remaining   INTEGER,          -- microseconds
	updated_at  INTEGER NOT NULL,
	steps       TEXT,             -- JSON array; last, because listings never read it
	PRIMARY KEY (scope, created_at, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX tasks_by_id ON tasks (project_key, id);
CREATE INDEX tasks_by_group ON tasks (grp, created_at, id);
CREATE INDEX tasks_by_job ON tasks (project_key, job_id, created_at, id) WHERE job_id IS NOT NULL;

-- How many tasks of a scope were created in a bucket of 2^level microseconds.
-- Instances and groups are counted, with levels 23, 29, 35 and 41.
CREATE TABLE counts (
	scope  INTEGER NOT NULL,
	level  INTEGER NOT NULL,
	bucket INTEGER NOT NULL,      -- created_at >> level
	n      INTEGER NOT NULL CHECK (n > 0),
	PRIMARY KEY (scope, level, bucket)
) WITHOUT ROWID;

CREATE TABLE events (
	seq         INTEGER PRIMARY KEY,
	project     TEXT NOT NULL,
	instance    TEXT NOT NULL,
	task        TEXT NOT NULL,
	at          INTEGER NOT NULL,
	act         TEXT NOT NULL,
	actor_id    TEXT NOT NULL,
	actor_name  TEXT NOT NULL,
	from_status TEXT NOT NULL,
	to_status   TEXT NOT NULL,
	request     TEXT NOT NULL,
	reason      TEXT NOT NULL
);

CREATE INDEX events_by_task ON events (task, seq);

CREATE TABLE projects (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	password   TEXT NOT NULL,
	admin      INTEGER NOT NULL,
	disabled   INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE roles (
	user_id TEXT NOT NULL,
	project TEXT NOT NULL,
	role    TEXT NOT NULL,
	PRIMARY KEY (user_id, project)
) WITHOUT ROWID;

CREATE TABLE access_keys (
	access     TEXT PRIMARY KEY,
	secret     BLOB NOT NULL,
	user_id    TEXT NOT NULL,
	project    TEXT NOT NULL,
	token      BLOB,              -- NULL for a permanent key
	expires_at INTEGER,           -- NULL: never
	created_at INTEGER NOT NULL,
	note       TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX access_keys_by_user ON access_keys (user_id, access);

CREATE TABLE tokens (
	hash       BLOB PRIMARY KEY,
	user_id    TEXT NOT NULL,
	project    TEXT NOT NULL,
	expires_at INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX tokens_by_user ON tokens (user_id, created_at, hash);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

CREATE TABLE checks (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;

-- Written by Ping alone, to see whether a disk that failed accepts data again.
CREATE TABLE pulse (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	n  INTEGER NOT NULL
);

INSERT INTO pulse VALUES (1, 0);
