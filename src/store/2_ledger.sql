-- Amounts are nano-USD, times seconds since the epoch, days days since the epoch, all of them in UTC.

-- Requests and tokens per minute; NULL: unlimited.
ALTER TABLE keys ADD COLUMN rpm INTEGER DEFAULT 60;
ALTER TABLE keys ADD COLUMN tpm INTEGER DEFAULT 100000;
ALTER TABLE keys ADD COLUMN spending_limit INTEGER;
ALTER TABLE keys ADD COLUMN strict INTEGER NOT NULL DEFAULT 0;

-- A number that changes with every change of keys or accounts, and with nothing else.
CREATE TABLE revision (number INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (0);
CREATE TRIGGER key_added AFTER INSERT ON keys BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER key_changed AFTER UPDATE ON keys BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER key_gone AFTER DELETE ON keys BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER account_changed AFTER UPDATE ON accounts BEGIN UPDATE revision SET number = number + 1; END;

-- An account without a row here has no wallet.
CREATE TABLE wallets (
    account TEXT PRIMARY KEY REFERENCES accounts (id),
    balance INTEGER NOT NULL CHECK (balance >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND balance)
) STRICT, WITHOUT ROWID;

CREATE TABLE topups (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES wallets (account),
    amount INTEGER NOT NULL CHECK (amount > 0),
    time INTEGER NOT NULL
) STRICT;

-- Every price list by which something was ever held.
CREATE TABLE prices (version INTEGER PRIMARY KEY, tiers TEXT NOT NULL UNIQUE, time INTEGER NOT NULL) STRICT;

-- One for each time that a gateway was started; the number is the upper part of its calls' numbers.
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL) STRICT;

-- Calls in flight. `prompt` and `delivered` are estimates of tokens.
CREATE TABLE holds (
    call INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    price INTEGER NOT NULL REFERENCES prices (version),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    prompt INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    time INTEGER NOT NULL
) STRICT;

-- Calls that are over: what was held and what was charged for them.
CREATE TABLE charges (
    call INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    price INTEGER NOT NULL REFERENCES prices (version),
    held INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount BETWEEN 0 AND held),
    outcome TEXT NOT NULL CHECK (outcome IN ('exact', 'estimated', 'recovered', 'released')),
    capped INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;

-- What keys spend, for their limits.
CREATE TABLE spending (
    key TEXT PRIMARY KEY,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    held INTEGER NOT NULL CHECK (held >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    account TEXT NOT NULL,
    day INTEGER NOT NULL,
    key TEXT NOT NULL,
    cost INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    PRIMARY KEY (account, day, key)
) STRICT, WITHOUT ROWID;
