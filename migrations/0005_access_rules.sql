-- Rights by topic: a principal has a role's rights on everything, or what its rules give.

-- `rules` is the list of the cluster's settings document: [{"topics": "orders-*", "rights": ["produce"]}, …]. A principal
-- with rules has no role, so that a program that knows only roles fails on it instead of giving the role's rights.
--
-- Everybody's logins share one principal for each role, found by that role. A principal with rights that were chosen
-- for it is `own`: no login is given it.
ALTER TABLE access_entries
  ALTER COLUMN role DROP NOT NULL,
  ADD COLUMN own   boolean NOT NULL DEFAULT false,
  ADD COLUMN rules jsonb CHECK (jsonb_typeof(rules) = 'array' AND jsonb_array_length(rules) <= 64),
  ADD CONSTRAINT access_entries_rights CHECK ((role IS NULL) = (rules IS NOT NULL)),
  ADD CONSTRAINT access_entries_shared CHECK (own OR rules IS NULL);

DROP INDEX access_entries_live;
CREATE UNIQUE INDEX access_entries_live ON access_entries (cluster_id, user_id, role)
  WHERE revoked_at IS NULL AND NOT own;

-- Who still holds a certificate of a principal, or waits for one.
CREATE INDEX certificates_principal ON certificates (principal_id);
CREATE INDEX certificate_requests_principal ON certificate_requests (principal_id) WHERE state = 'pending';

DROP TRIGGER access_entries_changed ON access_entries;
CREATE TRIGGER access_entries_changed AFTER INSERT OR UPDATE OF role, rules, revoked_at ON access_entries
  FOR EACH ROW EXECUTE FUNCTION access_changed();
