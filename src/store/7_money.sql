-- An account that gets or loses its wallet changes what its keys may do.
CREATE TRIGGER wallet_added AFTER INSERT ON wallets BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE accounts SET revision = (SELECT number FROM revision) WHERE id = NEW.account;
END;
CREATE TRIGGER wallet_gone AFTER DELETE ON wallets BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE accounts SET revision = (SELECT number FROM revision) WHERE id = OLD.account;
END;

-- The part of the cost that was counted and that nobody was charged for.
ALTER TABLE usage ADD COLUMN tracked INTEGER NOT NULL DEFAULT 0 CHECK (tracked BETWEEN 0 AND cost);
CREATE INDEX usage_of_keys ON usage (key);

-- What keys and accounts may spend in a period. A hard budget refuses calls; the others only give alerts, at the
-- percentages of the list `alert_at`.
CREATE TABLE budgets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('key', 'account')),
    owner TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    hard INTEGER NOT NULL,
    alert_at TEXT NOT NULL DEFAULT '[80]',
    UNIQUE (kind, owner, period, hard)
) STRICT;

-- One period of a budget. `tracked` is the part of `spent` that no charge of a balance covers: what was spent before the
-- budget was made, and what was only counted. `allowed` is what was spent and lent when the limit was lowered below it.
CREATE TABLE budget_windows (
    budget INTEGER NOT NULL,
    start_day INTEGER NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    leased INTEGER NOT NULL DEFAULT 0 CHECK (leased >= 0),
    tracked INTEGER NOT NULL DEFAULT 0 CHECK (tracked BETWEEN 0 AND spent),
    allowed INTEGER NOT NULL DEFAULT 0,
    alerted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (budget, start_day)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER budget_added AFTER INSERT ON budgets BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE keys SET revision = (SELECT number FROM revision) WHERE NEW.kind = 'key' AND id = NEW.owner;
    UPDATE accounts SET revision = (SELECT number FROM revision) WHERE NEW.kind = 'account' AND id = NEW.owner;
    INSERT INTO budget_windows (budget, start_day, spent, tracked, allowed)
        SELECT NEW.id, start, cost, cost, cost FROM (
            SELECT start, (SELECT COALESCE(SUM(cost), 0) FROM usage WHERE day >= start
                AND CASE NEW.kind WHEN 'key' THEN key = NEW.owner ELSE account = NEW.owner END) AS cost
            FROM (SELECT CASE NEW.period
                WHEN 'day' THEN unixepoch() / 86400
                -- The first of January 1970 was a Thursday, and weeks begin on Monday.
                WHEN 'week' THEN unixepoch() / 86400 - (unixepoch() / 86400 + 3) % 7
                WHEN 'month' THEN unixepoch('now', 'start of month') / 86400
                ELSE 0 END AS start));
END;
CREATE TRIGGER budget_changed AFTER UPDATE OF amount, hard, alert_at ON budgets BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE keys SET revision = (SELECT number FROM revision) WHERE NEW.kind = 'key' AND id = NEW.owner;
    UPDATE accounts SET revision = (SELECT number FROM revision) WHERE NEW.kind = 'account' AND id = NEW.owner;
    UPDATE budget_windows SET allowed = MAX(allowed, spent + leased)
        WHERE budget = NEW.id AND spent + leased > NEW.amount;
END;
CREATE TRIGGER budget_gone AFTER DELETE ON budgets BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE keys SET revision = (SELECT number FROM revision) WHERE OLD.kind = 'key' AND id = OLD.owner;
    UPDATE accounts SET revision = (SELECT number FROM revision) WHERE OLD.kind = 'account' AND id = OLD.owner;
END;

-- The spending limit of a key is its hard budget for all time.
CREATE TRIGGER key_limit_added AFTER INSERT ON keys WHEN NEW.spending_limit IS NOT NULL BEGIN
    INSERT INTO budgets (kind, owner, period, amount, hard) VALUES ('key', NEW.id, 'total', NEW.spending_limit, 1);
END;
CREATE TRIGGER key_limit_changed AFTER UPDATE OF spending_limit ON keys
WHEN NEW.spending_limit IS NOT NULL AND NEW.spending_limit IS NOT OLD.spending_limit AND NEW.deleted IS NULL BEGIN
    INSERT INTO budgets (kind, owner, period, amount, hard) VALUES ('key', NEW.id, 'total', NEW.spending_limit, 1)
        ON CONFLICT DO UPDATE SET amount = excluded.amount;
END;
CREATE TRIGGER key_limit_gone AFTER UPDATE OF spending_limit ON keys WHEN NEW.spending_limit IS NULL BEGIN
    DELETE FROM budgets WHERE kind = 'key' AND owner = NEW.id AND period = 'total' AND hard;
END;
CREATE TRIGGER key_budgets_gone AFTER UPDATE OF deleted ON keys WHEN NEW.deleted IS NOT NULL BEGIN
    DELETE FROM budgets WHERE kind = 'key' AND owner = OLD.id;
END;
CREATE TRIGGER account_budgets_gone AFTER UPDATE OF deleted ON accounts WHEN NEW.deleted IS NOT NULL BEGIN
    DELETE FROM budgets WHERE kind = 'account' AND owner = OLD.id;
END;
INSERT INTO budgets (kind, owner, period, amount, hard)
    SELECT 'key', id, 'total', spending_limit, 1 FROM keys WHERE spending_limit IS NOT NULL AND deleted IS NULL;

-- What the money for calls is leased from: the wallet of an account, or none, and windows of budgets. `windows` is their
-- list as text, by which a balance is found.
CREATE TABLE balances (
    balance INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    wallet INTEGER NOT NULL,
    windows TEXT NOT NULL,
    UNIQUE (key, account, wallet, windows)
) STRICT;
CREATE TABLE balance_windows (
    balance INTEGER NOT NULL,
    budget INTEGER NOT NULL,
    start_day INTEGER NOT NULL,
    PRIMARY KEY (balance, budget)
) STRICT, WITHOUT ROWID;
INSERT INTO balances (account, key, wallet, windows)
    SELECT payer.account, payer.key, 1, COALESCE(budgets.id || '@0', '')
    FROM (SELECT account, key FROM tabs UNION SELECT account, key FROM leases UNION SELECT account, key FROM holds)
        AS payer
    LEFT JOIN budgets ON budgets.owner = payer.key;
INSERT INTO balance_windows
    SELECT balances.balance, budgets.id, 0 FROM balances JOIN budgets ON budgets.owner = balances.key;

-- Calls from before have no number in `charges`: the wallet has paid for them.
ALTER TABLE charges ADD COLUMN balance INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holds ADD COLUMN balance INTEGER NOT NULL DEFAULT 0;
UPDATE holds SET balance =
    (SELECT b.balance FROM balances b WHERE b.key = holds.key AND b.account = holds.account);

-- By balance. A gateway from before, which knows nothing of balances, cannot go on.
ALTER TABLE leases RENAME TO leases_of_keys;
CREATE TABLE leases (
    epoch INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (epoch, balance)
) STRICT, WITHOUT ROWID;
INSERT INTO leases SELECT l.epoch, b.balance, l.amount FROM leases_of_keys l
    JOIN balances b ON b.key = l.key AND b.account = l.account;
UPDATE budget_windows SET leased = (SELECT COALESCE(SUM(l.amount), 0)
    FROM leases l JOIN balance_windows w ON w.balance = l.balance WHERE w.budget = budget_windows.budget);
UPDATE budget_windows SET allowed = MAX(allowed, spent + leased);
DROP TABLE leases_of_keys;
DROP TABLE spending;

-- What operators have paid into wallets and taken out. A reference is unique for ever.
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('top_up', 'refund')),
    amount INTEGER NOT NULL CHECK (amount > 0),
    reference TEXT NOT NULL UNIQUE,
    reason TEXT,
    actor TEXT,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX transactions_of_accounts ON transactions (account, id);
INSERT INTO transactions (account, kind, amount, reference, time)
    SELECT account, 'top_up', amount, id, time FROM topups ORDER BY time, id;
DROP TABLE topups;

-- Usage by hour, and by day once the hours are old. An empty provider has answered nobody, or is unknown.
CREATE TABLE usage_hours (
    hour INTEGER NOT NULL,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    cost INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    PRIMARY KEY (hour, account, key, model, provider)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_days (
    day INTEGER NOT NULL,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    cost INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    PRIMARY KEY (day, account, key, model, provider)
) STRICT, WITHOUT ROWID;
