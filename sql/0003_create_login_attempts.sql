-- Failed logins and those under way, counted before a password is checked.

-- A row per account and network, and one per account over all networks, whose source is empty. Neither an address nor a
-- network can be read from it: both columns hold keyed hashes, of whatever email was offered.
CREATE TABLE login_attempts (
    subject BYTEA NOT NULL,
    source BYTEA NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    failed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity',
    leases TIMESTAMP WITH TIME ZONE[] NOT NULL DEFAULT '{}',
    known_until TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity',
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (subject, source)
) WITH (fillfactor = 70);

CREATE INDEX idx_login_attempts_expires_at ON login_attempts (expires_at);

COMMENT ON TABLE login_attempts IS 'Failed logins and those under way';
COMMENT ON COLUMN login_attempts.subject IS 'Keyed hash of the email';
COMMENT ON COLUMN login_attempts.source IS 'Keyed hash of the network; empty: all of them';
COMMENT ON COLUMN login_attempts.failures IS 'Wrong passwords since the last success, lock or long pause';
COMMENT ON COLUMN login_attempts.leases IS 'One for each password being checked: when it counts no longer, if nobody says how it ended';
COMMENT ON COLUMN login_attempts.known_until IS 'Until then, this network has lately logged in to this account';
COMMENT ON COLUMN login_attempts.expires_at IS 'Until then, the row means something';

CREATE TYPE login_rules AS (
    lock_after INTEGER,
    account_lock_after INTEGER,
    delay_after INTEGER,
    delay INTERVAL,
    lock INTERVAL,
    forget INTERVAL,
    known INTERVAL,
    lease INTERVAL
);

-- The counter, made where there is none and locked until the transaction ends, without what time has made void. What is
-- void is written back only with the next change.
CREATE FUNCTION login_counter(of_subject BYTEA, of_source BYTEA, lock_after INTEGER, rules login_rules)
    RETURNS login_attempts LANGUAGE plpgsql AS $$
DECLARE
    counter login_attempts;
    remembered INTERVAL;
BEGIN
    LOOP
        SELECT * INTO counter FROM login_attempts WHERE subject = of_subject AND source = of_source FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO login_attempts (subject, source, expires_at)
            VALUES (of_subject, of_source, clock_timestamp() + rules.lease) ON CONFLICT DO NOTHING;
    END LOOP;
    remembered := CASE WHEN counter.failures >= lock_after THEN rules.lock ELSE rules.forget END;
    IF counter.failed_at + remembered <= clock_timestamp() THEN
        counter.failures := 0;
    END IF;
    counter.leases := ARRAY(SELECT lease FROM unnest(counter.leases) AS lease WHERE lease > clock_timestamp());
    RETURN counter;
END
$$;

-- Writes the counter back.
CREATE FUNCTION login_store(counter login_attempts) RETURNS VOID LANGUAGE sql AS $$
    UPDATE login_attempts SET failures = counter.failures, failed_at = counter.failed_at, leases = counter.leases,
        known_until = counter.known_until, expires_at = counter.expires_at
        WHERE subject = counter.subject AND source = counter.source
$$;

-- Gives the counter so many leases, and writes it back.
CREATE FUNCTION login_lend(counter login_attempts, lease TIMESTAMP WITH TIME ZONE, granted INTEGER)
    RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    counter.leases := counter.leases || array_fill(lease, ARRAY[granted]);
    counter.expires_at := GREATEST(counter.expires_at, lease);
    PERFORM login_store(counter);
END
$$;

-- Admits as many of `wanted` attempts as could all fail without any passing a limit, and says of the others why not:
-- 'locked' or 'paused', for so long, or 'pending': only attempts that are under way stand in their way.
CREATE FUNCTION login_reserve(
    of_subject BYTEA, of_source BYTEA, wanted INTEGER, rules login_rules,
    OUT granted INTEGER, OUT lease TIMESTAMP WITH TIME ZONE, OUT known BOOLEAN, OUT verdict TEXT, OUT wait INTERVAL
) LANGUAGE plpgsql AS $$
DECLARE
    account login_attempts;
    own login_attempts;
    room INTEGER := wanted;
BEGIN
    granted := 0;
    verdict := 'pending';
    wait := INTERVAL '0';
    -- Leases need not outlive a primary. A synchronous standby that is away would keep the answer, but not the leases.
    PERFORM set_config('synchronous_commit', 'local', true);
    -- A network that the account has logged in from is not the account's limit's business: strangers can use that up.
    known := EXISTS (SELECT FROM login_attempts
        WHERE subject = of_subject AND source = of_source AND known_until > clock_timestamp());
    IF NOT known THEN
        account := login_counter(of_subject, ''::BYTEA, rules.account_lock_after, rules);
        IF account.failures >= rules.account_lock_after THEN
            verdict := 'locked';
            wait := account.failed_at + rules.lock - clock_timestamp();
            RETURN;
        END IF;
        room := LEAST(room, rules.account_lock_after - account.failures - cardinality(account.leases));
        IF room <= 0 THEN
            RETURN;
        END IF;
    END IF;
    own := login_counter(of_subject, of_source, rules.lock_after, rules);
    IF own.failures >= rules.lock_after THEN
        verdict := 'locked';
        wait := own.failed_at + rules.lock - clock_timestamp();
        RETURN;
    END IF;
    IF own.failures >= rules.delay_after THEN
        wait := LEAST(rules.delay * 2 ^ LEAST(own.failures - rules.delay_after, 24), rules.lock);
        wait := own.failed_at + wait - clock_timestamp();
        IF wait > INTERVAL '0' THEN
            verdict := 'paused';
            RETURN;
        END IF;
    END IF;
    room := LEAST(room, rules.lock_after - own.failures - cardinality(own.leases));
    IF room <= 0 THEN
        RETURN;
    END IF;
    granted := room;
    lease := clock_timestamp() + rules.lease;
    PERFORM login_lend(own, lease, granted);
    IF NOT known THEN
        PERFORM login_lend(account, lease, granted);
    END IF;
END
$$;

-- Counts how one of a counter's attempts ended: 'succeeded', 'failed', or 'released' by nobody having checked the password.
-- Says whether a lock began.
CREATE FUNCTION login_settle(
    of_subject BYTEA, of_source BYTEA, lease TIMESTAMP WITH TIME ZONE, outcome TEXT, lock_after INTEGER, rules login_rules
) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
    counter login_attempts := login_counter(of_subject, of_source, lock_after, rules);
    was_locked BOOLEAN := counter.failures >= lock_after;
    place INTEGER := array_position(counter.leases, lease);
    known_until TIMESTAMP WITH TIME ZONE := clock_timestamp() + rules.known;
BEGIN
    -- Leases of one moment are alike: any of them will do.
    IF place IS NOT NULL THEN
        counter.leases := counter.leases[:place - 1] || counter.leases[place + 1:];
    END IF;
    IF outcome = 'failed' AND NOT was_locked THEN
        counter.failures := counter.failures + 1;
        counter.failed_at := clock_timestamp();
        counter.expires_at := GREATEST(counter.expires_at, counter.failed_at + GREATEST(rules.forget, rules.lock));
    ELSIF outcome = 'succeeded' AND counter.source <> '' THEN
        counter.failures := 0;
        -- Moved once a day, so that most logins change no index.
        IF counter.known_until < known_until - INTERVAL '1 day' THEN
            counter.known_until := known_until;
            counter.expires_at := GREATEST(counter.expires_at, known_until);
        END IF;
    END IF;
    PERFORM login_store(counter);
    RETURN counter.failures >= lock_after AND NOT was_locked;
END
$$;

-- Ends attempts, all in one transaction with the events that tell of them; says how many locks began. A lease that is NULL
-- is of an attempt that was not counted. The events come last: whatever they wait for, no counter waits for it in turn.
CREATE FUNCTION login_resolve(
    subjects BYTEA[], sources BYTEA[], of_leases TIMESTAMP WITH TIME ZONE[], of_known BOOLEAN[], outcomes TEXT[],
    users UUID[], emails TEXT[], networks TEXT[], rules login_rules
) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    has_locked BOOLEAN;
    locked_accounts INTEGER[] := '{}';
    locked_sources INTEGER[] := '{}';
    detail JSONB := jsonb_build_object('seconds', ceil(extract(epoch FROM rules.lock))::BIGINT);
BEGIN
    -- Nobody shall be kept from logging in because a synchronous standby is away.
    PERFORM set_config('synchronous_commit', 'local', true);
    FOR i IN 1..cardinality(subjects) LOOP
        CONTINUE WHEN of_leases[i] IS NULL;
        IF NOT of_known[i] THEN
            has_locked := login_settle(subjects[i], '', of_leases[i], outcomes[i], rules.account_lock_after, rules);
            IF has_locked THEN
                locked_accounts := locked_accounts || i;
            END IF;
        END IF;
        has_locked := login_settle(subjects[i], sources[i], of_leases[i], outcomes[i], rules.lock_after, rules);
        IF has_locked THEN
            locked_sources := locked_sources || i;
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(subjects) LOOP
        IF outcomes[i] <> 'released' THEN
            PERFORM audit_append('login_' || outcomes[i], users[i], emails[i], networks[i], NULL);
        END IF;
        IF i = ANY(locked_sources) THEN
            PERFORM audit_append('login_locked', users[i], emails[i], networks[i], detail || '{"of": "source"}');
        END IF;
        IF i = ANY(locked_accounts) THEN
            PERFORM audit_append('login_locked', users[i], emails[i], networks[i], detail || '{"of": "account"}');
        END IF;
    END LOOP;
    RETURN cardinality(locked_accounts) + cardinality(locked_sources);
END
$$;

-- Deletes `batch` rows at most: those that mean nothing any more; and where there are more than `rows_max`, networks whose
-- account has not used them for longest, then counters that would be forgotten soonest. One reaper at a time is enough.
CREATE FUNCTION login_reap(batch INTEGER, rows_max BIGINT) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    reaped INTEGER;
    excess BIGINT;
BEGIN
    -- "logins" in ASCII.
    IF NOT pg_try_advisory_xact_lock(x'6c6f67696e73'::BIGINT) THEN
        RETURN 0;
    END IF;
    DELETE FROM login_attempts WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM login_attempts WHERE expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS reaped = ROW_COUNT;
    IF reaped > 0 THEN
        RETURN reaped;
    END IF;
    SELECT count(*) - rows_max INTO excess FROM (SELECT FROM login_attempts LIMIT rows_max + batch) AS counted;
    IF excess > 0 THEN
        DELETE FROM login_attempts WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM login_attempts WHERE leases = '{}' ORDER BY failures > 0, expires_at
            LIMIT LEAST(excess, batch) FOR UPDATE SKIP LOCKED));
        GET DIAGNOSTICS reaped = ROW_COUNT;
    END IF;
    RETURN reaped;
END
$$;
