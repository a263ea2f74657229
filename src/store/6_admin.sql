-- Keys get the fields of their life cycle, and up to two secrets each. `revision` is the store's number at the last
-- change of a row. Nothing but the operations of the gateway writes these tables, so triggers no longer count.
DROP TRIGGER account_changed;
ALTER TABLE keys RENAME TO keys_before;
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    models TEXT,
    aliases TEXT NOT NULL,
    rpm INTEGER,
    tpm INTEGER,
    max_concurrent INTEGER,
    spending_limit INTEGER,
    strict INTEGER NOT NULL,
    allow_ips TEXT,
    tags TEXT NOT NULL DEFAULT '{}',
    watch INTEGER NOT NULL DEFAULT 0,
    notes TEXT NOT NULL DEFAULT '',
    origin TEXT NOT NULL,
    declared_by TEXT,
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires INTEGER,
    deleted INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE key_secrets (
    digest BLOB PRIMARY KEY,
    key TEXT NOT NULL REFERENCES keys (id),
    -- The last four characters; NULL for secrets from before they were kept.
    hint TEXT,
    created INTEGER NOT NULL,
    -- The time from which the secret no longer works; NULL: never.
    not_after INTEGER,
    last_used INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO keys (id, account, name, status, models, aliases, rpm, tpm, spending_limit, strict, origin, created,
        created_by, revision)
    SELECT id, account, name, status, models, aliases, rpm, tpm, spending_limit, strict, 'cli', created, 'cli', number
    FROM keys_before, revision ORDER BY keys_before.rowid;
INSERT INTO key_secrets (digest, key, created) SELECT digest, id, created FROM keys_before;
DROP TABLE keys_before;
CREATE INDEX keys_by_account ON keys (account);
CREATE INDEX keys_by_revision ON keys (revision);
CREATE INDEX secrets_by_key ON key_secrets (key);

ALTER TABLE accounts ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN models TEXT;
ALTER TABLE accounts ADD COLUMN rpm INTEGER;
ALTER TABLE accounts ADD COLUMN tpm INTEGER;
ALTER TABLE accounts ADD COLUMN max_concurrent INTEGER;
ALTER TABLE accounts ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
ALTER TABLE accounts ADD COLUMN low_balance INTEGER;
ALTER TABLE accounts ADD COLUMN origin TEXT NOT NULL DEFAULT 'cli';
ALTER TABLE accounts ADD COLUMN declared_by TEXT;
ALTER TABLE accounts ADD COLUMN created_by TEXT NOT NULL DEFAULT 'cli';
ALTER TABLE accounts ADD COLUMN deleted INTEGER;
ALTER TABLE accounts ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_by_revision ON accounts (revision);

-- Credentials of operators.
CREATE TABLE tokens (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    -- The accounts that it may see and change, as JSON; NULL: all.
    accounts TEXT,
    created INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires INTEGER,
    last_used INTEGER
) STRICT;

-- Changes and refused changes. Rows are never changed.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    account TEXT,
    outcome TEXT NOT NULL,
    before TEXT,
    after TEXT,
    request TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX audit_by_subject ON audit (subject);

-- Requests that may be repeated: the digests of a request's idempotency key and of its body, and its result.
CREATE TABLE idempotency (
    digest BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    status INTEGER NOT NULL,
    subject TEXT NOT NULL,
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (time);
