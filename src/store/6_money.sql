-- An account that gets or loses its wallet changes what its keys may do.
CREATE TRIGGER wallet_added AFTER INSERT ON wallets BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER wallet_gone AFTER DELETE ON wallets BEGIN UPDATE revision SET number = number + 1; END;

-- The part of the cost that was counted and that nobody was charged for.
ALTER TABLE usage ADD COLUMN tracked INTEGER NOT NULL DEFAULT 0 CHECK (tracked BETWEEN 0 AND cost);
