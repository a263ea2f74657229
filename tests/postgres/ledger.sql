-- The functions of the ledger, each rule by itself. An assertion that fails ends the run.

SET search_path = crossmodel;

-- Shorter ways to say what a gateway says. Numbers of balances are small here.
CREATE FUNCTION pg_temp.want(account text, key text, budgets bigint[], wanted bigint, threshold bigint, ahead bigint)
RETURNS want LANGUAGE sql AS $$
    SELECT ROW (account, key, true, abs(hashtext(account || key || budgets::text)), 1, budgets,
        array_fill(0::bigint, ARRAY[cardinality(budgets)]), 'm', abs(hashtext(key)), '{7}', '{[]}', wanted, threshold, ahead)::want
$$;
CREATE FUNCTION pg_temp.ended(call bigint, balance bigint, known boolean, held bigint, amount bigint, last boolean)
RETURNS ended_call LANGUAGE sql AS $$
    SELECT ROW (call, 1, balance, known, held, amount, 7, 'exact', false, '{1,0,0,2,0,0,0,0}', 0, 0, false, 'm', 'p', true,
        last)::ended_call
$$;
CREATE FUNCTION pg_temp.post(epoch bigint, number bigint, returns lease_part[] DEFAULT '{}', begun begun_call[] DEFAULT '{}',
    ends ended_call[] DEFAULT '{}', beyond ended_call[] DEFAULT '{}', wants want[] DEFAULT '{}',
    counted usage_part[] DEFAULT '{}', tracked window_part[] DEFAULT '{}')
RETURNS jsonb LANGUAGE sql AS $$
    SELECT post(epoch, number, returns, begun, '{}', ends, beyond, counted, tracked, wants, '{a}')
$$;
-- Whether a statement fails with this code, and changes nothing.
CREATE FUNCTION pg_temp.fails(statement text, code text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN false;
EXCEPTION WHEN OTHERS THEN
    ASSERT SQLSTATE = code, format('%s: %s instead of %s: %s', statement, SQLSTATE, code, SQLERRM);
    RETURN true;
END $$;
CREATE PROCEDURE pg_temp.check() LANGUAGE plpgsql AS $$
BEGIN
    ASSERT NOT EXISTS (SELECT 1 FROM findings), (SELECT string_agg(rule || ': ' || subject, '; ') FROM findings);
END $$;

\echo 'a transaction is made once'
DO $$ BEGIN
    ASSERT transact('a', 'top_up', 1000, 'r', NULL, NULL);
    ASSERT NOT transact('a', 'top_up', 1000, 'r', NULL, NULL);
    ASSERT pg_temp.fails($s$SELECT transact('a', 'top_up', 1001, 'r', NULL, NULL)$s$, 'CM004');
    ASSERT transact('a', 'refund', 100, 'back', NULL, NULL);
    ASSERT pg_temp.fails($s$SELECT transact('a', 'refund', 901, 'more', NULL, NULL)$s$, 'CM005');
    ASSERT (SELECT free FROM wallets) = 900;
END $$;
CALL pg_temp.check();

\echo 'a want gets what it asks for, later calls a quarter of the rest, and a call is charged once'
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    b bigint;
BEGIN
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'k', '{}', 100, 100, 64)]);
    b := r #>> '{wants,0,balance}';
    ASSERT r #>> '{wants,0,granted}' = '100' AND r #>> '{ahead,0,amount}' = '200', r::text;
    ASSERT (SELECT free FROM wallets) = 600;
    ASSERT r #>> '{wallets,0,balance}' = '900', r::text;
    -- Its answer may be lost, and its number is taken.
    ASSERT (SELECT (number, receipt) = (1, r) FROM posted(e));
    ASSERT pg_temp.fails(format('SELECT pg_temp.post(%s, 1)', e), 'CM002');
    ASSERT pg_temp.fails(format('SELECT pg_temp.post(%s, 3)', e), 'CM002');
    PERFORM pg_temp.post(e, 2, begun => ARRAY[ROW (1, 1, b, 100, 5, 0)::begun_call]);
    ASSERT wallet('a') ->> 'held' = '100';
    -- One that the store knows, and one that has begun and ended since.
    PERFORM pg_temp.post(e, 3, ends => ARRAY[pg_temp.ended(1, b, true, 100, 60, false), pg_temp.ended(2, b, false, 50, 40, false)]);
    ASSERT (SELECT sum(amount) FROM charges) = 100 AND (SELECT count(*) FROM holds) = 0;
    ASSERT (SELECT amount FROM leases) = 200;
    ASSERT (SELECT (cost, requests, successes, input, output) = (100, 2, 2, 2, 4) FROM usage_hours);
    ASSERT (wallet('a') ->> 'balance')::bigint = 800;
    PERFORM leave(e);
    ASSERT (SELECT free FROM wallets) = 800 AND (SELECT count(*) FROM leases) = 0;
    ASSERT (SELECT epoch FROM usage_hours) = 0;
    ASSERT pg_temp.fails(format('SELECT pg_temp.post(%s, 4)', e), 'CM001');
END $$;
CALL pg_temp.check();

\echo 'who is refused is told what each limit has left'
INSERT INTO budgets VALUES (1, 'key', 'k', 'total', 300, true, '{50,80}');
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    b bigint;
BEGIN
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'k', '{1}', 400, 301, 0), pg_temp.want('a', 'k', '{1}', 400, 200, 0),
        pg_temp.want('a', 'k', '{1}', 1, 1, 0), pg_temp.want('nobody', 'k', '{}', 1, 1, 0)]);
    b := r #>> '{wants,1,balance}';
    ASSERT r #>> '{wants,0,denied}' = 'short', r::text;
    ASSERT r #> '{wants,0,limits}' @> '[{"budget": 1, "total": 300, "left": 300, "free": 300}, {"total": 800, "free": 800}]', r::text;
    ASSERT r #>> '{wants,1,granted}' = '300', r::text;
    ASSERT r #> '{wants,2,limits}' @> '[{"budget": 1, "left": 300, "free": 0}]', r::text;
    ASSERT r #>> '{wants,3,denied}' = 'no_wallet', r::text;
    r := pg_temp.post(e, 2, ends => ARRAY[pg_temp.ended(1, b, false, 250, 250, false)]);
    ASSERT r #>> '{alerts,0,percent}' = '80', r::text;
    r := pg_temp.post(e, 3, returns => ARRAY[ROW (b, 50)::lease_part], tracked => ARRAY[ROW (1, 0, 10)::window_part],
        counted => ARRAY[ROW ('a', 'k', 'm', 'p', 10, 1, 0, 0, 1, 1, 1)::usage_part]);
    ASSERT r -> 'alerts' = '[]', 'an alert is given once';
    ASSERT (SELECT (drawn, tracked) = (260, 10) FROM budget_windows);
    ASSERT (SELECT count(*) FROM leases) = 0;
    PERFORM leave(e);
END $$;
CALL pg_temp.check();

\echo 'a call beyond its hold waits for more once, and takes what there is then'
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    b bigint;
BEGIN
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'l', '{}', 500, 500, 0)]);
    b := r #>> '{wants,0,balance}';
    ASSERT (SELECT free FROM wallets) = 50;
    r := pg_temp.post(e, 2, begun => ARRAY[ROW (1, 1, b, 100, 5, 0)::begun_call], beyond => ARRAY[pg_temp.ended(1, b, true, 100, 900, false)]);
    ASSERT r -> 'short' = '[1]' AND (SELECT count(*) FROM holds) = 1, r::text;
    r := pg_temp.post(e, 3, returns => ARRAY[ROW (b, 400)::lease_part], beyond => ARRAY[pg_temp.ended(1, b, true, 100, 900, true)]);
    ASSERT r -> 'short' = '[]' AND (SELECT free FROM wallets) = 0, r::text;
    ASSERT (SELECT (held, amount, excess, capped) = (550, 550, 450, true) FROM charges WHERE epoch = e);
    PERFORM leave(e);
END $$;
CALL pg_temp.check();

\echo 'a fenced epoch posts no more, its pocket is frozen, and its journal is the truth'
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    b bigint;
BEGIN
    PERFORM transact('a', 'top_up', 1000, 's', NULL, NULL);
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'k', '{}', 300, 300, 0)]);
    b := r #>> '{wants,0,balance}';
    PERFORM pg_temp.post(e, 2, begun => ARRAY[ROW (1, 1, b, 100, 5, 0)::begun_call]);
    ASSERT pg_temp.fails(format('SELECT forget(%s, ''{}'')', e), 'CM001');
    ASSERT NOT fence(e, 1), 'it has posted since';
    ASSERT fence(e, 2) AND fence(e, 2);
    ASSERT pg_temp.fails(format('SELECT pg_temp.post(%s, 3)', e), 'CM001');
    ASSERT (SELECT free FROM wallets) = 700, 'no money moves';
    ASSERT pg_temp.fails(format('SELECT restate(%s, ''{}'', ''ended'')', e), 'CM003');
    -- Twice, as whoever does not know whether it was done does it.
    FOR n IN 1..2 LOOP
        PERFORM restate(e, ARRAY[pg_temp.ended(1, b, true, 100, 70, true), pg_temp.ended(2, b, false, 200, 500, true)], 'ended');
        ASSERT (SELECT sum(amount) FROM charges WHERE epoch = e) = 570;
        ASSERT (SELECT free FROM wallets) = 430;
    END LOOP;
END $$;
CALL pg_temp.check();

\echo 'what was forgotten and comes back is charged late, and a debt is paid by the first money that becomes free'
DO $$
DECLARE
    e bigint := join_fleet('n', '1', false);
    other bigint := join_fleet('o', '1', true);
    r jsonb;
    b bigint;
BEGIN
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'k', '{}', 430, 430, 0)]);
    b := r #>> '{wants,0,balance}';
    ASSERT fence(e, 1);
    PERFORM forget(e, '{}');
    ASSERT (SELECT released FROM losses WHERE epoch = e) = 430;
    r := pg_temp.post(other, 1, wants => ARRAY[pg_temp.want('a', 'l', '{}', 400, 400, 0)]);
    b := r #>> '{wants,0,balance}';
    PERFORM restate(e, ARRAY[pg_temp.ended(1, (SELECT balance FROM losses WHERE epoch = e), false, 430, 90, true)], 'ended');
    ASSERT (SELECT (free, debt) = (0, 60) FROM wallets);
    ASSERT (SELECT late FROM charges WHERE epoch = e) = 90;
    r := pg_temp.post(other, 2, wants => ARRAY[pg_temp.want('a', 'l', '{}', 1, 1, 0)]);
    ASSERT r #>> '{wants,0,denied}' = 'short', r::text;
    PERFORM pg_temp.post(other, 3, returns => ARRAY[ROW (b, 100)::lease_part]);
    ASSERT (SELECT (free, debt) = (40, 0) FROM wallets);
    PERFORM leave(other);
END $$;
CALL pg_temp.check();

\echo 'no posting makes money'
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
    r jsonb;
    b bigint;
    post text;
BEGIN
    r := pg_temp.post(e, 1, wants => ARRAY[pg_temp.want('a', 'k', '{}', 100, 100, 0)]);
    b := r #>> '{wants,0,balance}';
    post := format('SELECT pg_temp.post(%s, 2, ', e);
    ASSERT pg_temp.fails(post || format('returns => ARRAY[ROW (%s, 101)::lease_part])', b), '23514');
    ASSERT pg_temp.fails(post || format('returns => ARRAY[ROW (%s, -1)::lease_part])', b), 'CM003');
    ASSERT pg_temp.fails(post || format('ends => ARRAY[pg_temp.ended(1, %s, false, 101, 101, false)])', b), '23514');
    ASSERT pg_temp.fails(post || format('ends => ARRAY[pg_temp.ended(1, %s, false, 10, -1, false)])', b), 'CM003');
    ASSERT pg_temp.fails(post || format('ends => ARRAY[pg_temp.ended(1, %s, false, 10, 11, false)])', b), 'CM003');
    ASSERT pg_temp.fails(post || 'wants => ARRAY[pg_temp.want(''a'', ''k'', ''{}'', -5, -5, 0)])', 'CM003');
    ASSERT (SELECT sum(amount) FROM leases) = 100;
    PERFORM leave(e);
END $$;
CALL pg_temp.check();

\echo 'partitions are made ahead, and the sums of those that go are carried'
DO $$
DECLARE
    month timestamptz := date_trunc('month', now()) - interval '6 months';
BEGIN
    EXECUTE format('CREATE TABLE charges_%s PARTITION OF charges FOR VALUES FROM (%L) TO (%L)',
        to_char(month, 'YYYYMM'), month, month + interval '1 month');
    UPDATE charges SET time = month WHERE call = 1 AND amount = 60;
    PERFORM maintain('35 days');
    ASSERT (SELECT (amount, calls) = (60, 1) FROM carried);
    ASSERT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'charges'::regclass) = 3;
END $$;
CALL pg_temp.check();

\echo 'a gateway may call its functions, and write no table'
CREATE ROLE test_gateway;
GRANT USAGE ON SCHEMA crossmodel TO test_gateway;
GRANT SELECT ON ALL TABLES IN SCHEMA crossmodel TO test_gateway;
GRANT EXECUTE ON FUNCTION join_fleet, post, posted, leave, line() TO test_gateway;
SET ROLE test_gateway;
DO $$
DECLARE
    e bigint := join_fleet('n', '1', true);
BEGIN
    PERFORM post(e, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', ARRAY[ROW ('a', 'k', true, 5, 6, '{}', '{}', 'm', 1, '{7}', '{[]}', 10, 10, 0)::want], '{}');
    PERFORM leave(e);
END $$;
DO $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY['UPDATE wallets SET free = free + 1', 'DELETE FROM charges', 'SELECT release(''a'', 1)',
        'SELECT transact(''a'', ''top_up'', 1, ''mine'', NULL, NULL)', 'SELECT change_lease(1, 5, 1)'] LOOP
        BEGIN
            EXECUTE statement;
            RAISE 'done: %', statement;
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
END $$;
RESET ROLE;
DROP OWNED BY test_gateway;
DROP ROLE test_gateway;
CALL pg_temp.check();
