-- Money that gateways may hold for calls without asking the store again: a part of the balance, and of what the key
-- may spend. What `leased` says is the sum of it.
CREATE TABLE leases (
    epoch INTEGER NOT NULL,
    key TEXT NOT NULL,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (epoch, key)
) STRICT, WITHOUT ROWID;

-- Who pays for which model by which prices: a number in place of all that, for the journals.
CREATE TABLE tabs (
    tab INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    price INTEGER NOT NULL REFERENCES prices (version),
    UNIQUE (key, model, price)
) STRICT;

-- Another name, too, so that a gateway from before, which knows nothing of leases, cannot go on.
ALTER TABLE wallets RENAME COLUMN held TO leased;
ALTER TABLE spending RENAME COLUMN held TO leased;
INSERT INTO leases SELECT call >> 40, key, account, SUM(amount) FROM holds GROUP BY call >> 40, key;
