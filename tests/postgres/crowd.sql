-- One of several gateways at once, which share an account and a budget: each lends, charges and returns a hundred times.
-- None may wait for another in a circle, and the sums add up after each of them.

SET search_path = crossmodel;
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    first bigint;
    second bigint;
    mine text;
BEGIN
    FOR n IN 0..99 LOOP
        mine := (ARRAY['x', 'y', 'z'])[1 + (n + pg_backend_pid()) % 3];
        r := post(e, 2 * n + 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', ARRAY[
            ROW ('crowd', mine, true, abs(hashtext(mine)), 1, '{2}', '{0}', 'm', abs(hashtext(mine)), '{7}', '{[]}', 40, 1, 64)::want,
            ROW ('other', mine, true, abs(hashtext(mine || 'o')), 1, '{2}', '{0}', 'm', 9, '{7}', '{[]}', 4, 1, 2)::want], '{crowd}');
        COMMIT;
        first := r #>> '{wants,0,balance}';
        second := r #>> '{wants,1,balance}';
        r := post(e, 2 * n + 2,
            ARRAY(SELECT ROW (balance, greatest(amount - 5, 0))::lease_part FROM leases WHERE epoch = e ORDER BY random()),
            '{}', '{}',
            ARRAY(SELECT ROW (10 * n + 1, 1, balance, false, 5, 1, 7, 'exact', false, '{1,0,0,2,0,0,0,0}', 0, 0, false, 'm',
                'p', true, false)::ended_call FROM leases WHERE epoch = e AND balance = first AND amount >= 5),
            '{}', '{}', '{}', '{}', '{crowd}');
        COMMIT;
    END LOOP;
    PERFORM leave(e);
END $$;
