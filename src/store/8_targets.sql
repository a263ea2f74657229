-- Targets that an operator has taken out of service, until a time. A row whose time has come says when its target was put
-- into service again.
CREATE TABLE rested_targets (
    target TEXT PRIMARY KEY,
    until INTEGER NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
