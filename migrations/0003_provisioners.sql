-- Many provisioners for many clusters: each sees what changed without reading everything, and they share the work.

-- The transaction that changed a cluster last. Whoever keeps the lowest transaction that was still open at its
-- last look, and asks for all from there on, misses nothing: later looks see what committed late.
ALTER TABLE clusters ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX clusters_changed ON clusters (runtime, region, changed);

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  NEW.changed := pg_current_xact_id();
  RETURN NEW;
END $$;
CREATE TRIGGER clusters_note_change BEFORE UPDATE ON clusters FOR EACH ROW EXECUTE FUNCTION note_change();

-- Who shares the work of a region. A provisioner that was not seen for the time of a lease is gone.
CREATE TABLE provisioners (
  holder  uuid PRIMARY KEY,
  region  text NOT NULL,
  host    text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON provisioners TO cloud_provisioner;
