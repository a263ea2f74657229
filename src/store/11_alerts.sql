-- What calls have cost, by day, account and tag. A value `(other)` stands for all values beyond the first thousand of a
-- day and account.
CREATE TABLE usage_tags (
    day INTEGER NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    cost INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (day, account, name, value)
) STRICT, WITHOUT ROWID;

-- Wallets whose low balance (1) or whose end (2) was told. A row goes when the balance is no longer low.
CREATE TABLE low_balances (
    account TEXT PRIMARY KEY,
    level INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events that webhooks have still to be told. `event` is the id that the receiver sees; `due` is the time of the next
-- attempt.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_webhook ON outbox (webhook, seq);

-- The process that delivers the events of all processes, until a time.
CREATE TABLE outbox_lease (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;

-- Windows of hard budgets of which was told that they are used up.
CREATE TABLE budget_ends (
    budget INTEGER NOT NULL,
    start_day INTEGER NOT NULL,
    PRIMARY KEY (budget, start_day)
) STRICT, WITHOUT ROWID;

-- Keys of which was told that they expire in so many days.
CREATE TABLE key_ends (
    key TEXT NOT NULL,
    expires INTEGER NOT NULL,
    days INTEGER NOT NULL,
    PRIMARY KEY (key, expires, days)
) STRICT, WITHOUT ROWID;
