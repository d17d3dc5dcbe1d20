-- The first room: who may publish, under which key, and what was published.
-- Times are milliseconds since the Unix epoch, UTC. Identifiers are TypeIDs (`usr_…`, `chn_…`, `key_…`).
-- Migrations only go forward: a released file is never edited, the next number corrects it.

-- A person who can log in. `username` and `email` are stored in lower case, so uniqueness ignores case.
CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL UNIQUE,
    email         TEXT    NOT NULL UNIQUE,
    -- PHC string (argon2id). Parameters travel with it, so they can be raised without a migration.
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('creator', 'admin')),
    status        TEXT    NOT NULL CHECK (status IN ('active', 'suspended', 'banned')),
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL
);

-- Logins. Only a hash of the token is kept: this table does not let its reader log in as anyone.
CREATE TABLE login_sessions (
    token_hash    BLOB    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL
);
CREATE INDEX login_sessions_by_expiry ON login_sessions (expires_at);

-- A place to watch: one per account. `slug` is in the watch page's address and is the public stream name.
CREATE TABLE channels (
    id            TEXT    NOT NULL PRIMARY KEY,
    owner_id      TEXT    NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    slug          TEXT    NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL
);

-- Secrets to publish with. The key itself is nowhere: `fingerprint` (keyed hash) finds the row for a key that
-- a broadcaster presents, `sealed` (XChaCha20-Poly1305, bound to `id`) lets its owner see it again.
CREATE TABLE stream_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    channel_id    TEXT    NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    fingerprint   BLOB    NOT NULL UNIQUE,
    sealed        BLOB    NOT NULL,
    -- The last four characters, to tell keys apart without revealing them.
    hint          TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    -- Set once: a revoked key never comes back. Its row stays, so that a late use can be explained.
    revoked_at    BIGINT,
    last_used_at  BIGINT
);
-- One key is valid at a time.
CREATE UNIQUE INDEX stream_keys_current ON stream_keys (channel_id) WHERE revoked_at IS NULL;

-- Everything the media server has told, as it came (stream keys blanked). A delivery is repeated until it is
-- acknowledged: the unique webhook id makes the second one a no-op. Admission requests are here too.
CREATE TABLE publish_events (
    webhook_id    TEXT    NOT NULL PRIMARY KEY,
    received_at   BIGINT  NOT NULL,
    type          TEXT    NOT NULL,
    stream        TEXT,
    session       TEXT,
    seq           BIGINT,
    -- For admissions: 'allow' or the reason of the denial.
    outcome       TEXT,
    body          TEXT    NOT NULL
);
CREATE INDEX publish_events_by_time ON publish_events (received_at);
CREATE INDEX publish_events_by_stream ON publish_events (stream, received_at);

-- One publisher's connection, from its first media to its end. A stream is live while it has an open session.
CREATE TABLE stream_sessions (
    session       TEXT    NOT NULL PRIMARY KEY,
    stream        TEXT    NOT NULL,
    started_at    BIGINT  NOT NULL,
    stopped_at    BIGINT,
    -- Why it ended, as the media server says it; 'superseded' when a newer session took its place.
    stop_reason   TEXT,
    -- The highest sequence number applied: an older event that comes late changes nothing.
    last_seq      BIGINT  NOT NULL
);
CREATE INDEX stream_sessions_by_stream ON stream_sessions (stream, started_at);

-- Who looked at or changed a secret, and when.
CREATE TABLE audit_log (
    id            TEXT    NOT NULL PRIMARY KEY,
    at            BIGINT  NOT NULL,
    -- A user id, or 'operator' for the command line.
    actor         TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    client_ip     TEXT
);
CREATE INDEX audit_log_by_subject ON audit_log (subject, at);
