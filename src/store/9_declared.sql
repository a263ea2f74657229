-- What the configuration file says of an object that it declares: the file, the line, and the members that it rules, as
-- JSON; NULL for all others. `declared_by` is the instance that owns the object.
ALTER TABLE keys ADD COLUMN declared TEXT;
ALTER TABLE accounts ADD COLUMN declared TEXT;
CREATE INDEX keys_declared ON keys (declared_by) WHERE declared_by IS NOT NULL;
CREATE INDEX accounts_declared ON accounts (declared_by) WHERE declared_by IS NOT NULL;
