-- The IP address that an event's request came from; '' is the server itself, and
-- every event from before this was kept.
ALTER TABLE events ADD COLUMN remote TEXT NOT NULL DEFAULT '';
