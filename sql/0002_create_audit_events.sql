-- What happened to accounts and keys, written in the transaction of the change itself, and chained by hashes afterwards.

CREATE TABLE audit_events (
    event_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id UUID,
    email TEXT,
    source TEXT,
    detail JSONB NOT NULL DEFAULT '{}',
    happened_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    sequence BIGINT,
    hash BYTEA,

    CONSTRAINT audit_events_sealed_whole CHECK ((sequence IS NULL) = (hash IS NULL)),
    CONSTRAINT audit_events_time_finite CHECK (isfinite(happened_at)),
    CONSTRAINT audit_events_hash_length CHECK (octet_length(hash) = 32)
);

-- Events to seal are found without a look at those that are; sealed ones are read in their order.
CREATE INDEX idx_audit_events_unsealed ON audit_events (event_id) WHERE sequence IS NULL;
CREATE UNIQUE INDEX idx_audit_events_sequence ON audit_events (sequence) WHERE sequence IS NOT NULL;

-- Where the chain starts and ends: both move, and the events between them are all there.
CREATE TABLE audit_chain (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    start_sequence BIGINT NOT NULL DEFAULT 0,
    start_hash BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(start_hash) = 32),
    head_sequence BIGINT NOT NULL DEFAULT 0,
    head_hash BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head_hash) = 32)
);

INSERT INTO audit_chain DEFAULT VALUES;

CREATE FUNCTION audit_append(kind TEXT, user_id UUID, email TEXT, source TEXT, detail JSONB) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO audit_events (kind, user_id, email, source, detail) VALUES ($1, $2, $3, $4, COALESCE($5, '{}'))
$$;

-- Against mistakes only: whoever may drop a trigger may change what it guards, and is found out by the chain.
CREATE FUNCTION audit_refuse() RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('rollcall.audit_prune', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING HINT = 'rollcall audit prune removes old events and keeps the rest verifiable.';
END
$$ LANGUAGE plpgsql;

CREATE TRIGGER keep_sealed_audit_events
    BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW WHEN (OLD.sequence IS NOT NULL) EXECUTE PROCEDURE audit_refuse();

CREATE TRIGGER keep_audit_events
    BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE PROCEDURE audit_refuse();

CREATE TRIGGER keep_audit_chain
    BEFORE DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE PROCEDURE audit_refuse();

COMMENT ON TABLE audit_events IS 'Security events, append-only';
COMMENT ON COLUMN audit_events.event_id IS 'In the order of writing, with gaps';
COMMENT ON COLUMN audit_events.kind IS 'What happened, such as registered';
COMMENT ON COLUMN audit_events.user_id IS 'Whom it happened to, where that is a known user';
COMMENT ON COLUMN audit_events.email IS 'The address, its keyed hash, or nothing, as audit.emails says';
COMMENT ON COLUMN audit_events.source IS 'The client''s network, its keyed hash, or nothing, as audit.addresses says';
COMMENT ON COLUMN audit_events.detail IS 'What else there is to tell of this kind';
COMMENT ON COLUMN audit_events.happened_at IS 'When it was written';
COMMENT ON COLUMN audit_events.sequence IS 'Its place in the chain, without gaps; none until it is sealed';
COMMENT ON COLUMN audit_events.hash IS 'SHA-256 over the hash before and every column but this';
COMMENT ON TABLE audit_chain IS 'Where the chain of sealed events starts and ends: one row';
COMMENT ON COLUMN audit_chain.start_sequence IS 'The last event that was pruned, 0 where none was';
COMMENT ON COLUMN audit_chain.start_hash IS 'Its hash, zeros where there is none';
COMMENT ON COLUMN audit_chain.head_sequence IS 'The last event that was sealed, 0 where none was';
COMMENT ON COLUMN audit_chain.head_hash IS 'Its hash, zeros where there is none';
