-- Stores from before versions were counted have these tables already.
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, created INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    status TEXT NOT NULL,
    models TEXT,
    aliases TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;
