-- Random bytes that all gateways of a store share, by what they are for. Whoever needs some first makes them; they are
-- never changed.
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
