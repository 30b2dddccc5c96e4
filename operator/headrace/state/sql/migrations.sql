-- name: migration_lock
-- One migrator at a time; the lock ends with the session.
SELECT pg_advisory_lock(%(lock)s);

-- name: migration_table
-- The record of what was applied. A look first: CREATE IF NOT EXISTS would write a notice on every start.
DO $$ BEGIN
  IF to_regclass('schema_migrations') IS NULL THEN
    CREATE TABLE schema_migrations (
      version    int PRIMARY KEY CHECK (version > 0),
      name       text NOT NULL,
      checksum   text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    );
  END IF;
END $$;

-- name: migration_applied
-- What was applied, with the checksum of its text then.
SELECT version, checksum FROM schema_migrations ORDER BY version;

-- name: migration_record
-- One migration was applied, in the same transaction.
INSERT INTO schema_migrations (version, name, checksum) VALUES (%(version)s, %(name)s, %(checksum)s);
