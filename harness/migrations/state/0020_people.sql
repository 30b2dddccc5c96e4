-- People and their roles, as the cluster has them: who came to the gateway, and what RoleBindings give to whom.

-- When somebody was last at the gateway; null: never, and known by a role binding alone.
ALTER TABLE users ADD COLUMN seen_at timestamptz;
CREATE INDEX users_never_seen ON users (id) WHERE seen_at IS NULL;
CREATE INDEX users_seen_at ON users (seen_at) WHERE seen_at IS NOT NULL;

-- What a RoleBinding's label may say; another is no role.
ALTER TABLE org_roles ADD CONSTRAINT org_roles_slug_check CHECK (slug ~ '^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$');

-- Groups that hold a role: who is in them, only a caller's token tells.
CREATE TABLE org_role_groups (
  role_id    uuid NOT NULL REFERENCES org_roles ON DELETE CASCADE,
  group_name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (role_id, group_name)
);
CREATE INDEX org_role_groups_group_name ON org_role_groups (group_name);
