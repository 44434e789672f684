//! Everything that clients and operators may rely on, against the real program and a real PostgreSQL.
