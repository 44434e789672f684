-- What happened to accounts and keys, written in the transaction of the change itself.

CREATE TABLE audit_events (
    event_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id UUID,
    email TEXT,
    source TEXT,
    detail JSONB NOT NULL DEFAULT '{}',
    happened_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION audit_append(kind TEXT, user_id UUID, email TEXT, source TEXT, detail JSONB) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO audit_events (kind, user_id, email, source, detail) VALUES ($1, $2, $3, $4, COALESCE($5, '{}'))
$$;
