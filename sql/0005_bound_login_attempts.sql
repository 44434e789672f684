-- Which counters are forgotten first where there are too many, found by an index instead of by sorting them all; and functions
-- in a form that databases spread over several servers take. Callers see no difference.

-- Counters of networks that are not known to the account begin with '-infinity'.
CREATE INDEX idx_login_attempts_forgetting ON login_attempts (known_until, expires_at);

CREATE OR REPLACE FUNCTION login_store(counter login_attempts) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    UPDATE login_attempts SET failures = counter.failures, failed_at = counter.failed_at, leases = counter.leases,
        known_until = counter.known_until, expires_at = counter.expires_at
        WHERE subject = counter.subject AND source = counter.source;
END
$$;

-- Deletes `batch` rows at most: those that mean nothing any more; and where there are more than `rows_max`, counters that would be
-- forgotten soonest, and networks that are known to their account only after all others, those first that it has not used for
-- longest: whoever floods the table with emails shall not make accounts forget where their owners are.
CREATE OR REPLACE FUNCTION login_reap(batch INTEGER, rows_max BIGINT) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    moment TIMESTAMP WITH TIME ZONE := clock_timestamp();
    reaped INTEGER;
    excess BIGINT;
BEGIN
    -- "logins" in ASCII. One reaper at a time is enough.
    IF NOT pg_try_advisory_xact_lock(x'6c6f67696e73'::BIGINT) THEN
        RETURN 0;
    END IF;
    DELETE FROM login_attempts USING (
        SELECT subject, source FROM login_attempts WHERE expires_at <= moment
        ORDER BY expires_at LIMIT batch FOR UPDATE SKIP LOCKED
    ) AS due WHERE login_attempts.subject = due.subject AND login_attempts.source = due.source;
    GET DIAGNOSTICS reaped = ROW_COUNT;
    IF reaped > 0 THEN
        RETURN reaped;
    END IF;
    SELECT count(*) - rows_max INTO excess FROM (SELECT FROM login_attempts LIMIT rows_max + batch) AS counted;
    IF excess > 0 THEN
        DELETE FROM login_attempts USING (
            SELECT subject, source FROM login_attempts WHERE leases = '{}' ORDER BY known_until, expires_at
            LIMIT LEAST(excess, batch) FOR UPDATE SKIP LOCKED
        ) AS due WHERE login_attempts.subject = due.subject AND login_attempts.source = due.source;
        GET DIAGNOSTICS reaped = ROW_COUNT;
    END IF;
    RETURN reaped;
END
$$;
