-- The access key that a token was made with: the token ends with it. '' is none.
ALTER TABLE tokens ADD COLUMN access text COLLATE "C" NOT NULL DEFAULT '';
