-- What a call may cost beside its tokens at their plain prices. `rates` is a set: bit 0 fast, 1 priority, 2 ultrafast,
-- 3 flex, 4 us.
ALTER TABLE holds ADD COLUMN rates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN rates INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN cache_write_long INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN audio_input INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN audio_output INTEGER NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN searches INTEGER NOT NULL DEFAULT 0;

-- What other models have cost that the provider asked, at their own prices; and whether one of them has answered, so
-- that there is nothing in `amount` beside it.
ALTER TABLE charges ADD COLUMN others INTEGER NOT NULL DEFAULT 0 CHECK (others >= 0);
ALTER TABLE charges ADD COLUMN elsewhere INTEGER NOT NULL DEFAULT 0;

-- What a call has cost beyond its hold, and the balance has covered: `held` is the hold with it.
ALTER TABLE charges ADD COLUMN excess INTEGER NOT NULL DEFAULT 0 CHECK (excess >= 0);
