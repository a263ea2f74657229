-- The spending limit of a key is its hard budget for all time, and no longer a column as well.
DROP TRIGGER key_limit_added;
DROP TRIGGER key_limit_changed;
DROP TRIGGER key_limit_gone;
ALTER TABLE keys DROP COLUMN spending_limit;
