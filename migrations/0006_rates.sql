-- How fast the clients of a cluster may go, and how many connections each principal may have. NULL: as fast, and as many,
-- as they like. Bytes and requests a second, on each of the cluster's servers.
ALTER TABLE clusters
  -- All clients together; from the plan.
  ADD COLUMN rate_bytes_in         bigint  CHECK (rate_bytes_in > 0),
  ADD COLUMN rate_bytes_out        bigint  CHECK (rate_bytes_out > 0),
  ADD COLUMN rate_requests         integer CHECK (rate_requests > 0),
  -- Each principal; the tenant's own choice.
  ADD COLUMN principal_bytes_in    bigint  CHECK (principal_bytes_in > 0),
  ADD COLUMN principal_bytes_out   bigint  CHECK (principal_bytes_out > 0),
  ADD COLUMN principal_requests    integer CHECK (principal_requests > 0),
  ADD COLUMN principal_connections integer CHECK (principal_connections > 0);
