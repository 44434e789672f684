-- Counters are locked here, and what becomes of them is decided by the service. Replicas of the version before call the functions
-- of the third step, which lock the same rows in the same order.

-- They pay no heed to this column, and need not: a lock ends at failed_at and limits.lock_s, however long it is.
ALTER TABLE login_attempts ADD COLUMN locks SMALLINT NOT NULL DEFAULT 0;

COMMENT ON COLUMN login_attempts.locks IS 'Locks since the last success or long pause: each is twice as long as the one before';
COMMENT ON COLUMN login_attempts.failed_at IS 'The last wrong password; later by as much as a lock is longer than the first';

-- Locks the counters of attempts until the transaction ends: of each account that of all networks first, unless the network is
-- known, then the network's own. A caller that already knows what is known says so, and gets all counters made that are missing;
-- for one that asks, a stranger's own counter is not made, because refusals shall leave nothing behind.
CREATE FUNCTION login_hold(subjects BYTEA[], sources BYTEA[], are_known BOOLEAN[], lease INTERVAL)
    RETURNS TABLE (
        place INTEGER, of_account BOOLEAN, failures INTEGER, failed_at TIMESTAMP WITH TIME ZONE,
        leases TIMESTAMP WITH TIME ZONE[], known_until TIMESTAMP WITH TIME ZONE, expires_at TIMESTAMP WITH TIME ZONE,
        locks SMALLINT
    ) LANGUAGE plpgsql AS $$
DECLARE
    is_known BOOLEAN;
    of_source BYTEA;
BEGIN
    -- Leases need not outlive a primary, and nobody shall be kept from logging in because a synchronous standby is away.
    PERFORM set_config('synchronous_commit', 'local', true);
    FOR i IN 1..cardinality(subjects) LOOP
        is_known := coalesce(are_known[i], EXISTS (SELECT FROM login_attempts AS a
            WHERE a.subject = subjects[i] AND a.source = sources[i] AND a.known_until > clock_timestamp()));
        FOREACH of_source IN ARRAY CASE WHEN is_known THEN ARRAY[sources[i]] ELSE ARRAY[''::BYTEA, sources[i]] END LOOP
            LOOP
                RETURN QUERY SELECT i, a.source = '', a.failures, a.failed_at, a.leases, a.known_until, a.expires_at, a.locks
                    FROM login_attempts AS a WHERE a.subject = subjects[i] AND a.source = of_source FOR UPDATE;
                EXIT WHEN FOUND OR (are_known[i] IS NULL AND NOT is_known AND of_source <> '');
                INSERT INTO login_attempts (subject, source, expires_at)
                    VALUES (subjects[i], of_source, clock_timestamp() + lease) ON CONFLICT DO NOTHING;
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
