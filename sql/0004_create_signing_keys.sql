-- Keys that tokens are signed with, beside the secret that the configuration has.

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public_key JSONB NOT NULL,
    private_key BYTEA,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    active_from TIMESTAMP WITH TIME ZONE NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,

    CONSTRAINT signing_keys_kid_format CHECK (kid ~ '^[A-Za-z0-9_-]{43}$'),
    CONSTRAINT signing_keys_retired_keys_expire CHECK ((retired_at IS NULL) = (expires_at IS NULL)),
    CONSTRAINT signing_keys_order CHECK (expires_at >= retired_at)
);

COMMENT ON TABLE signing_keys IS 'Asymmetric keys that tokens are signed with';
COMMENT ON COLUMN signing_keys.kid IS 'Thumbprint of the public key (RFC 7638, SHA-256)';
COMMENT ON COLUMN signing_keys.algorithm IS 'EdDSA or ES256';
COMMENT ON COLUMN signing_keys.public_key IS 'JWK, as published';
COMMENT ON COLUMN signing_keys.private_key IS
    'PKCS #8: nonce, AES-256-GCM ciphertext and tag; removed once the key signs no more';
COMMENT ON COLUMN signing_keys.active_from IS 'From when on it may sign; it is published and verifies at once';
COMMENT ON COLUMN signing_keys.retired_at IS 'From when on it does not sign';
COMMENT ON COLUMN signing_keys.expires_at IS 'From when on its tokens are refused, and it is no longer published';
