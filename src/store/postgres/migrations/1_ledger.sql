-- The ledger in PostgreSQL 14 or later. Amounts are nano-USD, days and hours are counted since the epoch, in UTC.
--
-- Money lies in pockets: for each account, what was paid in is
--     free + leases + charges - debt
-- at every commit. Gateways move money between pockets by the functions below and have no right to write any table. So
-- a gateway can spend, and cannot make money.
--
-- Every function that moves money locks in this order, so that none can deadlock: the epoch's row, prices and billing keys
-- that are new, wallets by account, windows of budgets, leases. A lock of a wallet never lives across a round trip to a gateway: one that is stopped there
-- would stop the leases of all others. So grants are made inside `post`.

CREATE SCHEMA crossmodel;
SET LOCAL search_path = crossmodel;

-- `oldest` is the earliest version of the gateway's schema that can use this store. `reopened` is raised after a restore.
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    version integer NOT NULL,
    oldest integer NOT NULL,
    reopened integer NOT NULL DEFAULT 0
);
INSERT INTO store (version, oldest) VALUES (1, 1);

CREATE TABLE wallets (
    account text PRIMARY KEY,
    free bigint NOT NULL DEFAULT 0 CHECK (free >= 0),
    debt bigint NOT NULL DEFAULT 0 CHECK (debt >= 0),
    CHECK (free = 0 OR debt = 0)
) WITH (fillfactor = 50);

CREATE TABLE transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL REFERENCES wallets (account),
    kind text NOT NULL CHECK (kind IN ('top_up', 'refund')),
    amount bigint NOT NULL CHECK (amount > 0),
    reference text NOT NULL UNIQUE,
    reason text,
    actor text,
    time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX transactions_of_accounts ON transactions (account, id);

CREATE TABLE budgets (
    id bigint PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('key', 'account')),
    owner text NOT NULL,
    period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    amount bigint NOT NULL CHECK (amount >= 0),
    hard boolean NOT NULL,
    alert_at integer[] NOT NULL DEFAULT '{80}',
    UNIQUE (kind, owner, period, hard)
);

-- `drawn` is what is spent and lent, `tracked` the part of it that no charge covers. `allowed` is what was drawn when the
-- limit was lowered below it.
CREATE TABLE budget_windows (
    budget bigint NOT NULL,
    start_day bigint NOT NULL,
    drawn bigint NOT NULL DEFAULT 0 CHECK (drawn >= 0),
    tracked bigint NOT NULL DEFAULT 0 CHECK (tracked BETWEEN 0 AND drawn),
    allowed bigint NOT NULL DEFAULT 0,
    alerted integer NOT NULL DEFAULT 0,
    PRIMARY KEY (budget, start_day)
) WITH (fillfactor = 50);

-- What the money for calls is leased from. The number is the first 8 bytes of the SHA-256 of the row, made positive: a
-- sequence goes back with a failover and gives a number twice.
CREATE TABLE balances (
    balance bigint PRIMARY KEY,
    account text NOT NULL,
    key text NOT NULL,
    wallet boolean NOT NULL
);
CREATE INDEX balances_of_accounts ON balances (account);
CREATE TABLE balance_windows (
    balance bigint NOT NULL REFERENCES balances (balance),
    budget bigint NOT NULL,
    start_day bigint NOT NULL,
    PRIMARY KEY (balance, budget)
);
CREATE INDEX balances_of_windows ON balance_windows (budget, start_day);

-- `line` is the time line of the last posting, `receipt` its answer, for the case that the answer was lost.
CREATE TABLE epochs (
    epoch bigint PRIMARY KEY,
    node text NOT NULL,
    version text NOT NULL,
    kept boolean NOT NULL,
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'fenced', 'lost', 'ended')),
    posted bigint NOT NULL DEFAULT 0,
    receipt jsonb,
    line text NOT NULL,
    joined timestamptz NOT NULL DEFAULT now(),
    seen timestamptz NOT NULL DEFAULT now(),
    fenced timestamptz
) WITH (fillfactor = 50);

-- The key begins with the balance: a new epoch is in no statistics, so the planner takes `epoch = ...` for one row, and
-- would read all leases of an epoch for each of them by an index that begins with it.
CREATE TABLE leases (
    epoch bigint NOT NULL REFERENCES epochs (epoch),
    balance bigint NOT NULL REFERENCES balances (balance),
    amount bigint NOT NULL DEFAULT 0 CHECK (amount >= 0),
    PRIMARY KEY (balance, epoch)
) WITH (fillfactor = 50);

CREATE TABLE prices (version bigint PRIMARY KEY, tiers text NOT NULL, time timestamptz NOT NULL DEFAULT now());
CREATE TABLE tabs (
    tab bigint PRIMARY KEY,
    account text NOT NULL,
    key text NOT NULL,
    model text NOT NULL,
    price bigint NOT NULL REFERENCES prices (version)
);
CREATE INDEX tabs_of_keys ON tabs (key);

CREATE TABLE holds (
    epoch bigint NOT NULL,
    call bigint NOT NULL,
    tab bigint NOT NULL,
    balance bigint NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    prompt bigint NOT NULL,
    delivered bigint NOT NULL DEFAULT 0,
    rates smallint NOT NULL DEFAULT 0,
    time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call, epoch)
);
CREATE INDEX holds_of_balances ON holds (balance);

-- `excess` is the part of `held` that was taken at the end of a call, `late` the part of `amount` that no lease covered. A
-- key of a partitioned table has to contain `time`: that a call is charged once is due to the numbers of postings, and to
-- the look of `restate`, both under the lock of the epoch's row.
CREATE TABLE charges (
    time timestamptz NOT NULL DEFAULT now(),
    epoch bigint NOT NULL,
    call bigint NOT NULL,
    tab bigint NOT NULL,
    balance bigint NOT NULL,
    price bigint NOT NULL,
    held bigint NOT NULL,
    amount bigint NOT NULL,
    excess bigint NOT NULL DEFAULT 0 CHECK (excess >= 0),
    late bigint NOT NULL DEFAULT 0 CHECK (late BETWEEN 0 AND amount),
    outcome text NOT NULL CHECK (outcome IN ('exact', 'estimated', 'recovered', 'released')),
    capped boolean NOT NULL,
    tokens bigint[] NOT NULL,
    rates smallint NOT NULL,
    others bigint NOT NULL DEFAULT 0 CHECK (others >= 0),
    elsewhere boolean NOT NULL DEFAULT false,
    CHECK (amount BETWEEN 0 AND held),
    CHECK (outcome <> 'released' OR amount = 0),
    PRIMARY KEY (epoch, call, time)
) PARTITION BY RANGE (time);
CREATE INDEX charges_of_balances ON charges (balance, time);

-- Sums of partitions that were dropped.
CREATE TABLE carried (
    balance bigint NOT NULL,
    until timestamptz NOT NULL,
    amount bigint NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (balance, until)
);

-- Each epoch adds to rows of its own, so that no row is hot; they are added up under epoch 0 when the epoch ends.
CREATE TABLE usage_hours (
    hour bigint NOT NULL,
    account text NOT NULL,
    key text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    epoch bigint NOT NULL,
    cost bigint NOT NULL DEFAULT 0,
    tracked bigint NOT NULL DEFAULT 0 CHECK (tracked BETWEEN 0 AND cost),
    input bigint NOT NULL DEFAULT 0,
    cache_read bigint NOT NULL DEFAULT 0,
    cache_write bigint NOT NULL DEFAULT 0,
    output bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,
    successes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account, hour, key, model, provider, epoch)
) WITH (fillfactor = 50);
CREATE INDEX usage_of_epochs ON usage_hours (epoch) WHERE epoch <> 0;

CREATE TABLE losses (
    epoch bigint NOT NULL,
    balance bigint NOT NULL,
    released bigint NOT NULL,
    time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (epoch, balance)
);

-- The parts of a posting. `tokens` are input, cache reads, cache writes, output, long cache writes, sound in and out, and
-- searches; `model` and `provider` are those that have answered.
CREATE TYPE lease_part AS (balance bigint, amount bigint);
CREATE TYPE begun_call AS (call bigint, tab bigint, balance bigint, amount bigint, prompt bigint, rates smallint);
CREATE TYPE call_mark AS (call bigint, delivered bigint);
CREATE TYPE ended_call AS (call bigint, tab bigint, balance bigint, is_known boolean, held bigint, amount bigint,
    price bigint, outcome text, capped boolean, tokens bigint[], rates smallint, others bigint, elsewhere boolean,
    model text, provider text, whole boolean, is_last boolean);
CREATE TYPE usage_part AS (account text, key text, model text, provider text, cost bigint,
    input bigint, cache_read bigint, cache_write bigint, output bigint, requests bigint, successes bigint);
CREATE TYPE window_part AS (budget bigint, start_day bigint, amount bigint);
-- `with_wallet` and `without_wallet` are the numbers of the balance in either case.
CREATE TYPE want AS (account text, key text, needs_wallet boolean, with_wallet bigint, without_wallet bigint,
    budgets bigint[], start_days bigint[], model text, tab bigint, versions bigint[], tiers text[], wanted bigint,
    threshold bigint, ahead bigint);

-- Returns the time line: it changes with every promotion, restore and reopening.
CREATE FUNCTION line() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
    SELECT reopened || '.' || CASE WHEN pg_is_in_recovery() THEN 'standby'
        ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END FROM store
$$;

-- Begins an epoch. The number is random: no failover gives it a second time.
CREATE FUNCTION join_fleet(node text, version text, kept boolean) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
    -- At most 23 bits: a call's number has its epoch in the upper bits.
    INSERT INTO epochs (epoch, node, version, kept, line)
    SELECT number, node, version, kept, line()
    FROM (SELECT 1 + floor(random() * 8388606)::bigint AS number FROM generate_series(1, 64)) AS any_number
    WHERE NOT EXISTS (SELECT 1 FROM epochs WHERE epoch = number) LIMIT 1
    RETURNING epoch
$$;

-- Adds to what an account has free, a debt first.
CREATE FUNCTION release(of_account text, amount bigint) RETURNS void
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    UPDATE wallets SET free = free + greatest(release.amount - debt, 0), debt = debt - least(release.amount, debt)
    WHERE account = of_account
$$;

-- Changes what is drawn from the windows of a balance.
CREATE FUNCTION draw(of_balance bigint, amount bigint) RETURNS void
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    UPDATE budget_windows w SET drawn = drawn + draw.amount FROM balance_windows b
        WHERE b.balance = of_balance AND w.budget = b.budget AND w.start_day = b.start_day
$$;

-- Changes a lease, with all from which it is leased.
CREATE FUNCTION change_lease(of_epoch bigint, of_balance bigint, difference bigint) RETURNS void
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    payer balances;
BEGIN
    SELECT * INTO STRICT payer FROM balances WHERE balance = of_balance;
    IF payer.wallet AND difference < 0 THEN
        PERFORM release(payer.account, -difference);
    ELSIF payer.wallet THEN
        UPDATE wallets SET free = free - difference WHERE account = payer.account;
    END IF;
    PERFORM draw(of_balance, difference);
    INSERT INTO leases (epoch, balance) VALUES (of_epoch, of_balance) ON CONFLICT DO NOTHING;
    UPDATE leases SET amount = amount + difference WHERE balance = of_balance AND epoch = of_epoch;
END $$;

-- Returns what can be leased from a balance: nothing while there is a debt.
CREATE FUNCTION free(of_balance bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = crossmodel, pg_temp AS $$
    SELECT least(
        (SELECT w.free FROM balances b JOIN wallets w USING (account) WHERE b.balance = of_balance AND b.wallet),
        (SELECT min(greatest(b.amount - coalesce(w.drawn, 0), 0)) FROM balance_windows n
            JOIN budgets b ON b.id = n.budget AND b.hard
            LEFT JOIN budget_windows w ON w.budget = n.budget AND w.start_day = n.start_day
            WHERE n.balance = of_balance),
        9223372036854775807)
$$;

-- Returns the state of each limit of a balance, for a refusal.
CREATE FUNCTION funds(of_balance bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = crossmodel, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('budget', budget, 'start_day', start_day, 'total', total,
        'left', greatest(of_total - spent, 0), 'free', free)), '[]')
    FROM (
        SELECT NULL::bigint AS budget, NULL::bigint AS start_day, greatest(w.free + lent - w.debt, 0) AS total,
            greatest(w.free + lent - w.debt, 0) AS of_total, 0 AS spent, w.free
        FROM balances b JOIN wallets w USING (account), LATERAL (
            SELECT coalesce(sum(l.amount), 0)::bigint AS lent FROM balances o JOIN leases l USING (balance)
            WHERE o.account = b.account AND o.wallet) AS of_account
        WHERE b.balance = of_balance AND b.wallet
        UNION ALL
        SELECT n.budget, n.start_day, b.amount, b.amount, coalesce(w.drawn, 0) - lent,
            greatest(b.amount - coalesce(w.drawn, 0), 0)
        FROM balance_windows n JOIN budgets b ON b.id = n.budget AND b.hard
        LEFT JOIN budget_windows w ON w.budget = n.budget AND w.start_day = n.start_day, LATERAL (
            SELECT coalesce(sum(l.amount), 0)::bigint AS lent FROM balance_windows o JOIN leases l USING (balance)
            WHERE o.budget = n.budget AND o.start_day = n.start_day) AS of_window
        WHERE n.balance = of_balance) AS limits
$$;

-- Locks the row of an epoch that may post. CM001: it may not any more; CM002: the store is not as it has left it.
CREATE FUNCTION lock_epoch(of_epoch bigint, number bigint) RETURNS void
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    known epochs;
BEGIN
    SELECT * INTO known FROM epochs WHERE epoch = of_epoch FOR UPDATE;
    IF known.state IS DISTINCT FROM 'live' AND known.epoch IS NOT NULL THEN
        RAISE EXCEPTION 'epoch % is %', of_epoch, known.state USING ERRCODE = 'CM001';
    ELSIF known.epoch IS NULL OR known.line <> line() OR known.posted <> number - 1 THEN
        RAISE EXCEPTION 'epoch % has not left the store like this', of_epoch USING ERRCODE = 'CM002';
    END IF;
END $$;

-- Locks the wallets and the windows of budgets that some balances and wants are about, in their order. Windows that are
-- missing are made.
CREATE FUNCTION lock_limits(of_balances bigint[], wants want[], more window_part[]) RETURNS void
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    windows window_part[];
BEGIN
    PERFORM 1 FROM wallets WHERE account IN (SELECT b.account FROM balances b WHERE b.balance = ANY (of_balances)
        UNION SELECT w.account FROM unnest(wants) AS w) ORDER BY account FOR UPDATE;
    windows := ARRAY(SELECT ROW (budget, start_day, 0)::window_part FROM balance_windows WHERE balance = ANY (of_balances)
        UNION SELECT ROW (n.budget, n.start_day, 0)::window_part
            FROM unnest(wants) AS w, unnest(w.budgets, w.start_days) AS n (budget, start_day)
        UNION SELECT ROW (m.budget, m.start_day, 0)::window_part FROM unnest(more) AS m);
    -- The rows are made first: ON CONFLICT DO UPDATE would check a negative difference as if it were the sum.
    INSERT INTO budget_windows (budget, start_day) SELECT n.budget, n.start_day FROM unnest(windows) AS n ORDER BY 1, 2
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM budget_windows w WHERE (w.budget, w.start_day) IN (SELECT n.budget, n.start_day FROM unnest(windows) AS n)
        ORDER BY w.budget, w.start_day FOR UPDATE;
END $$;

CREATE FUNCTION write_charge(of_epoch bigint, ended ended_call, excess bigint, late bigint) RETURNS void
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    INSERT INTO charges (epoch, call, tab, balance, price, held, amount, excess, late, outcome, capped, tokens, rates,
        others, elsewhere)
    VALUES (of_epoch, ended.call, ended.tab, ended.balance, ended.price, ended.held + write_charge.excess,
        least(ended.amount, ended.held + write_charge.excess), write_charge.excess, write_charge.late, ended.outcome,
        ended.capped OR ended.amount > ended.held + write_charge.excess, ended.tokens, ended.rates, ended.others,
        ended.elsewhere)
$$;

-- Adds the prices and the billing keys of wants, in their order: accounts share them.
CREATE FUNCTION learn(wants want[]) RETURNS void LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    INSERT INTO prices (version, tiers) SELECT DISTINCT ON (1) p.version, p.tiers
        FROM unnest(wants) AS w, unnest(w.versions, w.tiers) AS p (version, tiers) ORDER BY 1 ON CONFLICT DO NOTHING;
    INSERT INTO tabs SELECT DISTINCT ON (1) w.tab, w.account, w.key, w.model, w.versions[1]
        FROM unnest(wants) AS w ORDER BY 1 ON CONFLICT DO NOTHING
$$;

-- Lends what is wanted, or says why not.
CREATE FUNCTION lend(of_epoch bigint, wanted want) RETURNS jsonb
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    has_wallet boolean := EXISTS (SELECT 1 FROM wallets WHERE account = wanted.account);
    number bigint := CASE WHEN has_wallet THEN wanted.with_wallet ELSE wanted.without_wallet END;
    room bigint;
    granted bigint;
BEGIN
    IF wanted.needs_wallet AND NOT has_wallet THEN
        RETURN jsonb_build_object('denied', 'no_wallet');
    END IF;
    INSERT INTO balances VALUES (number, wanted.account, wanted.key, has_wallet) ON CONFLICT DO NOTHING;
    INSERT INTO balance_windows SELECT number, budget, start_day
        FROM unnest(wanted.budgets, wanted.start_days) AS windows (budget, start_day) ON CONFLICT DO NOTHING;
    room := free(number);
    IF room < wanted.threshold THEN
        RETURN jsonb_build_object('denied', 'short', 'limits', funds(number));
    END IF;
    granted := least(wanted.wanted, room);
    PERFORM change_lease(of_epoch, number, granted);
    RETURN jsonb_build_object('balance', number, 'wallet', has_wallet, 'granted', granted);
END $$;

-- Returns the alerts that are due for windows, and notes them, so that each is given once.
CREATE FUNCTION alerts(windows window_part[]) RETURNS jsonb
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    WITH state AS (
        SELECT w.budget, w.start_day, b.kind, b.owner, b.period, b.amount, w.alerted, b.alert_at,
            w.drawn - (SELECT coalesce(sum(l.amount), 0) FROM balance_windows o JOIN leases l USING (balance)
                WHERE o.budget = w.budget AND o.start_day = w.start_day) AS spent
        FROM budget_windows w JOIN budgets b ON b.id = w.budget
        WHERE (w.budget, w.start_day) IN (SELECT budget, start_day FROM unnest(windows))
    ), due AS (
        SELECT state.*, (SELECT max(percent) FROM unnest(alert_at) AS percent
            WHERE spent::numeric * 100 >= amount::numeric * percent AND percent > alerted) AS percent FROM state
    ), noted AS (
        UPDATE budget_windows w SET alerted = due.percent FROM due
        WHERE due.percent IS NOT NULL AND w.budget = due.budget AND w.start_day = due.start_day
        RETURNING due.kind, due.owner, due.period, due.amount AS total, due.spent, due.percent
    )
    SELECT coalesce(jsonb_agg(to_jsonb(noted)), '[]') FROM noted
$$;

-- Adds sums to the usage of this hour. Nobody pays for those that are only counted.
CREATE FUNCTION add_usage(of_epoch bigint, parts usage_part[], only_counted boolean) RETURNS void
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    INSERT INTO usage_hours AS u (hour, account, key, model, provider, epoch, cost, tracked, input, cache_read, cache_write,
        output, requests, successes)
    SELECT floor(extract(epoch FROM now()) / 3600)::bigint, p.account, p.key, p.model, p.provider, of_epoch, p.cost,
        CASE WHEN only_counted THEN p.cost ELSE 0 END, p.input, p.cache_read, p.cache_write, p.output, p.requests,
        p.successes FROM unnest(parts) AS p ORDER BY 2, 3, 4, 5
    ON CONFLICT (account, hour, key, model, provider, epoch) DO UPDATE SET
        cost = u.cost + excluded.cost, tracked = u.tracked + excluded.tracked, input = u.input + excluded.input,
        cache_read = u.cache_read + excluded.cache_read, cache_write = u.cache_write + excluded.cache_write,
        output = u.output + excluded.output, requests = u.requests + excluded.requests,
        successes = u.successes + excluded.successes
$$;

-- Returns the sums of calls that are charged, by what the charges say. A gateway cannot make them differ.
CREATE FUNCTION usage_of(of_epoch bigint, ends ended_call[]) RETURNS usage_part[]
LANGUAGE sql STABLE SET search_path = crossmodel, pg_temp AS $$
    SELECT ARRAY(SELECT ROW (b.account, b.key, e.model, e.provider, sum(c.amount), sum(e.tokens[1]), sum(e.tokens[2]),
            sum(e.tokens[3]), sum(e.tokens[4]), count(*), count(*) FILTER (WHERE e.whole))::usage_part
        FROM unnest(ends) AS e JOIN charges c ON c.epoch = of_epoch AND c.call = e.call AND c.time = now()
        JOIN balances b ON b.balance = c.balance GROUP BY b.account, b.key, e.model, e.provider)
$$;

-- Adds the usage of an epoch to that of all that have ended.
CREATE FUNCTION fold_usage(of_epoch bigint) RETURNS void
LANGUAGE sql SET search_path = crossmodel, pg_temp AS $$
    WITH gone AS (DELETE FROM usage_hours WHERE epoch = of_epoch RETURNING *)
    INSERT INTO usage_hours AS u SELECT hour, account, key, model, provider, 0, cost, tracked, input, cache_read,
        cache_write, output, requests, successes FROM gone ORDER BY account, hour, key, model, provider
    ON CONFLICT (account, hour, key, model, provider, epoch) DO UPDATE SET
        cost = u.cost + excluded.cost, tracked = u.tracked + excluded.tracked, input = u.input + excluded.input,
        cache_read = u.cache_read + excluded.cache_read, cache_write = u.cache_write + excluded.cache_write,
        output = u.output + excluded.output, requests = u.requests + excluded.requests,
        successes = u.successes + excluded.successes
$$;

-- Returns the balance of an account and what is held of it; NULL if it has no wallet.
CREATE FUNCTION wallet(of_account text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = crossmodel, pg_temp AS $$
    SELECT jsonb_build_object(
        'balance', greatest(w.free - w.debt + (SELECT coalesce(sum(l.amount), 0) FROM balances b JOIN leases l USING (balance)
            WHERE b.account = w.account AND b.wallet), 0),
        'held', (SELECT coalesce(sum(h.amount), 0) FROM balances b JOIN holds h USING (balance)
            WHERE b.account = w.account AND b.wallet))
    FROM wallets w WHERE w.account = of_account
$$;

-- Carries out a posting: all of it, or nothing. There is no NOTIFY in it, which would take a lock of the whole database.
CREATE FUNCTION post(
    of_epoch bigint,
    number bigint,
    returns lease_part[],
    begun begun_call[],
    marks call_mark[],
    ends ended_call[],
    beyond ended_call[],
    counted usage_part[],
    tracked window_part[],
    wants want[],
    accounts text[]
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
DECLARE
    part record;
    ended ended_call;
    wanted want;
    over bigint;
    room bigint;
    ahead bigint;
    lent jsonb;
    short bigint[] := '{}';
    answers jsonb[] := '{}';
    more jsonb[] := '{}';
    touched window_part[];
    answer jsonb;
BEGIN
    PERFORM lock_epoch(of_epoch, number);
    PERFORM learn(wants);
    PERFORM lock_limits(ARRAY(SELECT r.balance FROM unnest(returns) AS r UNION SELECT b.balance FROM unnest(beyond) AS b),
        wants, tracked);
    IF EXISTS (SELECT 1 FROM unnest(returns) AS r WHERE r.amount < 0)
        OR EXISTS (SELECT 1 FROM unnest(ends) AS e WHERE e.amount NOT BETWEEN 0 AND e.held)
        OR EXISTS (SELECT 1 FROM unnest(beyond) AS e WHERE e.amount <= e.held OR e.held < 0)
        OR EXISTS (SELECT 1 FROM unnest(wants) AS w WHERE w.wanted < 0 OR w.threshold < 0 OR w.ahead < 0)
        OR EXISTS (SELECT 1 FROM unnest(tracked) AS t WHERE t.amount < 0)
        OR EXISTS (SELECT 1 FROM unnest(counted) AS c WHERE c.cost < 0) THEN
        RAISE EXCEPTION 'a posting of epoch % has amounts that cannot be', of_epoch USING ERRCODE = 'CM003';
    END IF;
    FOR part IN SELECT r.balance, sum(r.amount)::bigint AS amount FROM unnest(returns) AS r GROUP BY 1 ORDER BY 1 LOOP
        PERFORM change_lease(of_epoch, part.balance, -part.amount);
    END LOOP;
    INSERT INTO holds (epoch, call, tab, balance, amount, prompt, rates)
        SELECT of_epoch, b.call, b.tab, b.balance, b.amount, b.prompt, b.rates FROM unnest(begun) AS b;
    UPDATE holds h SET delivered = greatest(h.delivered, m.delivered) FROM unnest(marks) AS m
        WHERE h.call = m.call AND h.epoch = of_epoch;
    DELETE FROM holds h USING unnest(ends) AS e WHERE e.is_known AND h.call = e.call AND h.epoch = of_epoch;
    PERFORM write_charge(of_epoch, e, 0, 0) FROM unnest(ends) AS e;
    UPDATE leases l SET amount = l.amount - e.amount FROM (
        SELECT e.balance, sum(e.amount)::bigint AS amount FROM unnest(ends) AS e GROUP BY 1) AS e
        WHERE l.balance = e.balance AND l.epoch = of_epoch AND e.amount > 0;
    IF (SELECT count(*) FROM (SELECT e.balance FROM unnest(ends) AS e GROUP BY 1 HAVING sum(e.amount) > 0) AS paid
        LEFT JOIN leases l ON l.balance = paid.balance AND l.epoch = of_epoch WHERE l.balance IS NULL) > 0 THEN
        RAISE EXCEPTION 'epoch % has charged what was not lent to it', of_epoch USING ERRCODE = 'CM002';
    END IF;
    FOREACH ended IN ARRAY beyond LOOP
        over := ended.amount - ended.held;
        room := greatest(free(ended.balance), 0);
        IF room < over AND NOT ended.is_last THEN
            short := short || ended.call;
            CONTINUE;
        END IF;
        DELETE FROM holds WHERE call = ended.call AND epoch = of_epoch;
        CONTINUE WHEN NOT FOUND;
        over := least(over, room);
        -- What is taken beyond the hold is lent for the moment of the charge.
        PERFORM change_lease(of_epoch, ended.balance, over);
        PERFORM write_charge(of_epoch, ended, over, 0);
        UPDATE leases SET amount = amount - least(ended.amount, ended.held + over)
            WHERE balance = ended.balance AND epoch = of_epoch;
    END LOOP;
    FOR part IN SELECT t.budget, t.start_day, sum(t.amount)::bigint AS amount FROM unnest(tracked) AS t
        GROUP BY 1, 2 ORDER BY 1, 2 LOOP
        INSERT INTO budget_windows (budget, start_day) VALUES (part.budget, part.start_day) ON CONFLICT DO NOTHING;
        UPDATE budget_windows w SET drawn = w.drawn + part.amount, tracked = w.tracked + part.amount,
            allowed = greatest(w.allowed, w.drawn + part.amount)
            WHERE w.budget = part.budget AND w.start_day = part.start_day;
    END LOOP;
    FOREACH wanted IN ARRAY wants LOOP
        answers := answers || lend(of_epoch, wanted);
    END LOOP;
    -- For later calls, at most a quarter of what is left among all living epochs.
    FOR part IN SELECT (a.answer ->> 'balance')::bigint AS balance,
            max((a.answer ->> 'granted')::bigint * w.ahead) AS most
        FROM unnest(answers) WITH ORDINALITY AS a (answer, place) JOIN (SELECT n.ahead, n.ordinality AS place FROM unnest(wants) WITH ORDINALITY AS n) AS w USING (place)
        WHERE a.answer ? 'granted' GROUP BY 1 ORDER BY 1 LOOP
        ahead := least(part.most, free(part.balance) / (4 * (SELECT count(*) FROM epochs WHERE state = 'live')));
        PERFORM change_lease(of_epoch, part.balance, ahead);
        more := more || jsonb_build_object('balance', part.balance, 'amount', ahead);
    END LOOP;
    DELETE FROM leases l USING unnest(returns) AS r
        WHERE l.balance = r.balance AND l.epoch = of_epoch AND l.amount = 0;
    PERFORM add_usage(of_epoch, counted, true);
    PERFORM add_usage(of_epoch, usage_of(of_epoch, ends || beyond), false);
    touched := ARRAY(SELECT ROW (w.budget, w.start_day, 0)::window_part FROM balance_windows w
            WHERE w.balance IN (SELECT e.balance FROM unnest(ends || beyond) AS e WHERE e.amount > 0)
        UNION SELECT ROW (t.budget, t.start_day, 0)::window_part FROM unnest(tracked) AS t);
    answer := jsonb_build_object('wants', to_jsonb(answers), 'ahead', to_jsonb(more), 'short', to_jsonb(short),
        'alerts', alerts(touched), 'wallets', (SELECT coalesce(jsonb_agg(wallet(a.account) ORDER BY a.place), '[]')
            FROM unnest(accounts) WITH ORDINALITY AS a (account, place)));
    UPDATE epochs SET posted = number, receipt = answer, seen = now() WHERE epoch = of_epoch;
    RETURN answer;
END $$;

-- Returns the number and the receipt of the last posting of an epoch. It writes something itself: what a commit that was
-- given up has left is visible before it is on the standby, and after this commit it is there.
CREATE FUNCTION posted(of_epoch bigint) RETURNS TABLE (number bigint, receipt jsonb)
LANGUAGE sql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
    UPDATE epochs SET seen = now() WHERE epoch = of_epoch RETURNING epochs.posted, epochs.receipt
$$;

-- Charges the end of a call that is not posted in time: to the lease, then to what is free, then as a debt. Returns whether
-- it was not charged yet.
CREATE FUNCTION charge_late(of_epoch bigint, ended ended_call) RETURNS boolean
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    payer balances;
    cost bigint;
    covered bigint;
    over bigint;
    paid bigint;
BEGIN
    DELETE FROM holds WHERE call = ended.call AND epoch = of_epoch;
    IF EXISTS (SELECT 1 FROM charges WHERE epoch = of_epoch AND call = ended.call) THEN
        RETURN false;
    END IF;
    SELECT * INTO STRICT payer FROM balances WHERE balance = ended.balance;
    INSERT INTO leases (epoch, balance) VALUES (of_epoch, ended.balance) ON CONFLICT DO NOTHING;
    -- What a call has cost beyond its hold is taken as far as there is something.
    SELECT least(greatest(ended.amount - ended.held, 0), greatest(free(ended.balance), 0)
        + greatest(amount - ended.held, 0)) INTO over FROM leases WHERE balance = ended.balance AND epoch = of_epoch;
    cost := least(ended.amount, ended.held + over);
    SELECT least(amount, cost) INTO covered FROM leases WHERE balance = ended.balance AND epoch = of_epoch;
    UPDATE leases SET amount = amount - covered WHERE balance = ended.balance AND epoch = of_epoch;
    PERFORM draw(ended.balance, cost - covered);
    IF payer.wallet THEN
        SELECT least(w.free, cost - covered) INTO paid FROM wallets w WHERE account = payer.account;
        UPDATE wallets w SET free = w.free - paid, debt = w.debt + cost - covered - paid WHERE account = payer.account;
    END IF;
    PERFORM write_charge(of_epoch, ended, over, cost - covered);
    RETURN true;
END $$;

-- Ends an epoch whose process is gone, by the ends that its journal says or that were estimated. Of a call that is over
-- it changes nothing, so it can be repeated.
CREATE FUNCTION restate(of_epoch bigint, ends ended_call[], new_state text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
DECLARE
    known epochs;
    ended ended_call;
    charged ended_call[] := '{}';
BEGIN
    IF new_state NOT IN ('ended', 'lost') THEN
        RAISE EXCEPTION 'an epoch does not end as %', new_state USING ERRCODE = 'CM003';
    END IF;
    SELECT * INTO known FROM epochs WHERE epoch = of_epoch FOR UPDATE;
    -- A failover may have lost that it has begun.
    IF NOT FOUND THEN
        INSERT INTO epochs (epoch, node, version, kept, line) VALUES (of_epoch, '', '', true, line());
    END IF;
    PERFORM lock_limits(ARRAY(SELECT e.balance FROM unnest(ends) AS e
        UNION SELECT balance FROM leases WHERE epoch = of_epoch), '{}', '{}');
    IF EXISTS (SELECT 1 FROM unnest(ends) AS e WHERE e.amount < 0 OR e.held < 0) THEN
        RAISE EXCEPTION 'the journal of epoch % has amounts that cannot be', of_epoch USING ERRCODE = 'CM003';
    END IF;
    FOREACH ended IN ARRAY ends LOOP
        IF charge_late(of_epoch, ended) THEN
            charged := charged || ended;
        END IF;
    END LOOP;
    IF EXISTS (SELECT 1 FROM holds WHERE epoch = of_epoch) THEN
        RAISE EXCEPTION 'calls of epoch % have no end', of_epoch USING ERRCODE = 'CM003';
    END IF;
    PERFORM add_usage(of_epoch, usage_of(of_epoch, charged), false);
    PERFORM give_back_all(of_epoch, new_state = 'lost');
    UPDATE epochs SET state = CASE WHEN state = 'ended' THEN state ELSE new_state END WHERE epoch = of_epoch;
END $$;

-- Gives back what was lent to an epoch, and notes it as a loss if nobody knows what was spent of it.
CREATE FUNCTION give_back_all(of_epoch bigint, is_lost boolean) RETURNS void
LANGUAGE plpgsql SET search_path = crossmodel, pg_temp AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT balance, amount FROM leases WHERE epoch = of_epoch ORDER BY balance LOOP
        IF is_lost AND part.amount > 0 THEN
            INSERT INTO losses (epoch, balance, released) VALUES (of_epoch, part.balance, part.amount)
                ON CONFLICT DO NOTHING;
        END IF;
        PERFORM change_lease(of_epoch, part.balance, -part.amount);
    END LOOP;
    DELETE FROM leases WHERE epoch = of_epoch;
    PERFORM fold_usage(of_epoch);
END $$;

-- Keeps an epoch from posting, unless it has posted since it was seen. No money moves.
CREATE FUNCTION fence(of_epoch bigint, seen_posted bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
BEGIN
    UPDATE epochs SET state = 'fenced', fenced = now()
        WHERE epoch = of_epoch AND state = 'live' AND posted = seen_posted;
    RETURN EXISTS (SELECT 1 FROM epochs WHERE epoch = of_epoch AND state = 'fenced');
END $$;

-- Ends a fenced epoch whose journal is lost: `ends` are estimates of the calls that the store knows.
CREATE FUNCTION forget(of_epoch bigint, ends ended_call[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
BEGIN
    PERFORM 1 FROM epochs WHERE epoch = of_epoch AND state IN ('fenced', 'lost') FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % is not fenced', of_epoch USING ERRCODE = 'CM001';
    END IF;
    PERFORM restate(of_epoch, ends, 'lost');
END $$;

-- Ends the epoch of a process that has no call in flight.
CREATE FUNCTION leave(of_epoch bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
BEGIN
    PERFORM 1 FROM epochs WHERE epoch = of_epoch AND state = 'live' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % may not leave', of_epoch USING ERRCODE = 'CM001';
    ELSIF EXISTS (SELECT 1 FROM holds WHERE epoch = of_epoch) THEN
        RAISE EXCEPTION 'calls of epoch % have no end', of_epoch USING ERRCODE = 'CM003';
    END IF;
    PERFORM lock_limits(ARRAY(SELECT balance FROM leases WHERE epoch = of_epoch), '{}', '{}');
    PERFORM give_back_all(of_epoch, false);
    UPDATE epochs SET state = 'ended' WHERE epoch = of_epoch;
END $$;

-- Makes a transaction of a wallet; the first top-up makes the wallet. One whose reference is known changes nothing. Returns
-- whether it was new.
CREATE FUNCTION transact(of_account text, new_kind text, new_amount bigint, new_reference text, new_reason text, new_actor text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp AS $$
DECLARE
    known transactions;
BEGIN
    IF new_kind = 'top_up' THEN
        INSERT INTO wallets (account) VALUES (of_account) ON CONFLICT DO NOTHING;
    END IF;
    PERFORM 1 FROM wallets WHERE account = of_account FOR UPDATE;
    SELECT * INTO known FROM transactions WHERE reference = new_reference;
    IF FOUND THEN
        IF (known.account, known.kind, known.amount) IS DISTINCT FROM (of_account, new_kind, new_amount) THEN
            RAISE EXCEPTION 'there is another transaction with the reference %', new_reference USING ERRCODE = 'CM004';
        END IF;
        RETURN false;
    END IF;
    INSERT INTO transactions (account, kind, amount, reference, reason, actor)
        VALUES (of_account, new_kind, new_amount, new_reference, new_reason, new_actor);
    IF new_kind = 'top_up' THEN
        PERFORM release(of_account, new_amount);
    ELSE
        UPDATE wallets SET free = free - new_amount WHERE account = of_account AND free >= new_amount;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'calls hold the rest of the balance of %', of_account USING ERRCODE = 'CM005';
        END IF;
    END IF;
    RETURN true;
END $$;

-- Makes the partitions of this month and the next two, and drops those that have ended before a day, whose sums are
-- carried. Does nothing while another one does it.
CREATE FUNCTION maintain(keep interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = crossmodel, pg_temp SET timezone = 'UTC'
SET client_min_messages = warning AS $$
DECLARE
    month timestamptz;
    old record;
BEGIN
    IF keep < interval '1 day' OR NOT pg_try_advisory_xact_lock(hashtextextended('crossmodel.maintain', 0)) THEN
        RETURN;
    END IF;
    FOR month IN SELECT generate_series(date_trunc('month', now()), date_trunc('month', now()) + interval '2 months',
            interval '1 month') LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS charges_%s PARTITION OF charges FOR VALUES FROM (%L) TO (%L)',
            to_char(month, 'YYYYMM'), month, month + interval '1 month');
    END LOOP;
    FOR old IN SELECT c.relname, to_timestamp(right(c.relname, 6), 'YYYYMM') + interval '1 month' AS ends
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'crossmodel.charges'::regclass LOOP
        CONTINUE WHEN old.ends > now() - keep;
        EXECUTE format('INSERT INTO carried SELECT balance, %L, sum(amount), count(*) FROM %I GROUP BY balance', old.ends,
            old.relname);
        EXECUTE format('DROP TABLE %I', old.relname);
    END LOOP;
END $$;
SELECT maintain(interval '35 days');

-- What does not add up: a rule and its subject. Nothing, in books that are right.
CREATE VIEW findings AS
    SELECT 'the pockets of an account are what was paid in' AS rule, account AS subject FROM (
        SELECT account, free::numeric - debt AS rest FROM wallets
        UNION ALL SELECT b.account, l.amount FROM leases l JOIN balances b USING (balance) WHERE b.wallet
        UNION ALL SELECT b.account, c.amount FROM charges c JOIN balances b USING (balance) WHERE b.wallet
        UNION ALL SELECT b.account, c.amount FROM carried c JOIN balances b USING (balance) WHERE b.wallet
        UNION ALL SELECT account, CASE kind WHEN 'refund' THEN amount ELSE -amount END FROM transactions) AS pockets
    GROUP BY account HAVING sum(rest) <> 0
    UNION ALL SELECT 'what is drawn from a budget is spent or lent', budget::text FROM (
        SELECT budget, start_day, drawn::numeric - tracked AS rest FROM budget_windows
        UNION ALL SELECT w.budget, w.start_day, -l.amount FROM leases l JOIN balance_windows w USING (balance)
        UNION ALL SELECT w.budget, w.start_day, -c.amount FROM charges c JOIN balance_windows w USING (balance)
        UNION ALL SELECT w.budget, w.start_day, -c.amount FROM carried c JOIN balance_windows w USING (balance)) AS drawn
    GROUP BY budget, start_day HAVING sum(rest) <> 0
    UNION ALL SELECT 'a hard budget spends and lends no more than its limit', b.id::text
        FROM budget_windows w JOIN budgets b ON b.id = w.budget WHERE b.hard AND w.drawn > greatest(b.amount, w.allowed)
    UNION ALL SELECT 'what an epoch holds was lent to it', epoch::text FROM (
        SELECT epoch, balance, -amount AS rest FROM holds UNION ALL SELECT epoch, balance, amount FROM leases) AS held
    GROUP BY epoch, balance HAVING sum(rest) < 0
    UNION ALL SELECT 'a call is in flight or over', call::text FROM holds h
        WHERE EXISTS (SELECT 1 FROM charges c WHERE c.epoch = h.epoch AND c.call = h.call)
    UNION ALL SELECT 'a call is charged once', call::text FROM charges GROUP BY epoch, call HAVING count(*) > 1
    UNION ALL SELECT 'an epoch that is over has no lease', l.epoch::text FROM leases l JOIN epochs e USING (epoch)
        WHERE e.state IN ('ended', 'lost')
    UNION ALL SELECT 'usage costs what was charged', key FROM (
        SELECT key, cost::numeric - tracked AS rest FROM usage_hours
        UNION ALL SELECT b.key, -c.amount FROM charges c JOIN balances b USING (balance)
        UNION ALL SELECT b.key, -c.amount FROM carried c JOIN balances b USING (balance)) AS used
    GROUP BY key HAVING sum(rest) <> 0;

-- Nobody may do anything but what is granted. `crossmodel store init` makes the roles and grants them:
-- crossmodel_gateway SELECT on all tables and EXECUTE on join_fleet, post, posted, restate, fence, forget, leave, line and
-- maintain; crossmodel_admin SELECT, EXECUTE on transact, and changes of budgets; crossmodel_reader SELECT.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA crossmodel FROM PUBLIC;
