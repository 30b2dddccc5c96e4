-- name: roles_differ
-- Whether the roles of an org, their members or their groups are others than these.
WITH roles AS (
  SELECT w.slug, w.name FROM jsonb_to_recordset(%(roles)s) AS w (slug text, name text)
), members AS (
  SELECT w.slug, w."user" AS holder FROM jsonb_to_recordset(%(members)s) AS w (slug text, "user" text)
), groups AS (
  SELECT w.slug, w."group" AS holder FROM jsonb_to_recordset(%(groups)s) AS w (slug text, "group" text)
), known AS (
  SELECT r.id, r.slug, r.name FROM org_roles r WHERE r.org_id = %(org_id)s
), held AS (
  SELECT k.slug, u.external_id AS holder
  FROM known k JOIN org_role_memberships m ON m.role_id = k.id JOIN users u ON u.id = m.user_id
), grouped AS (
  SELECT k.slug, g.group_name AS holder FROM known k JOIN org_role_groups g ON g.role_id = k.id
)
SELECT EXISTS (SELECT slug, name FROM roles EXCEPT SELECT slug, name FROM known)
  OR EXISTS (SELECT slug, name FROM known EXCEPT SELECT slug, name FROM roles)
  OR EXISTS (SELECT slug, holder FROM members EXCEPT SELECT slug, holder FROM held)
  OR EXISTS (SELECT slug, holder FROM held EXCEPT SELECT slug, holder FROM members)
  OR EXISTS (SELECT slug, holder FROM groups EXCEPT SELECT slug, holder FROM grouped)
  OR EXISTS (SELECT slug, holder FROM grouped EXCEPT SELECT slug, holder FROM groups) AS there;

-- name: drop_roles
-- Roles that no binding gives any more; their members and groups go with them.
DELETE FROM org_roles r
WHERE r.org_id = %(org_id)s AND NOT EXISTS (
  SELECT 1 FROM jsonb_to_recordset(%(roles)s) AS w (slug text) WHERE w.slug = r.slug);

-- name: put_roles
-- The roles that bindings give.
INSERT INTO org_roles AS r (org_id, slug, name)
SELECT %(org_id)s, w.slug, w.name FROM jsonb_to_recordset(%(roles)s) AS w (slug text, name text) ORDER BY w.slug
ON CONFLICT (org_id, slug) DO UPDATE SET name = excluded.name WHERE r.name <> excluded.name;

-- name: put_users
-- Those whom they name, of this org if they are new.
INSERT INTO users (org_id, external_id, email)
SELECT DISTINCT %(org_id)s::uuid, w."user", CASE WHEN w."user" ~ '^[^@\s]+@[^@\s]+\.[^@\s]+$' THEN w."user" END
FROM jsonb_to_recordset(%(members)s) AS w ("user" text)
ORDER BY 2
ON CONFLICT (external_id) DO NOTHING;

-- name: drop_members
-- Whom no binding names any more.
DELETE FROM org_role_memberships m
USING org_roles r, users u
WHERE r.org_id = %(org_id)s AND m.role_id = r.id AND u.id = m.user_id AND NOT EXISTS (
  SELECT 1 FROM jsonb_to_recordset(%(members)s) AS w (slug text, "user" text)
  WHERE w.slug = r.slug AND w."user" = u.external_id);

-- name: put_members
-- Whom they name.
INSERT INTO org_role_memberships (role_id, user_id)
SELECT r.id, u.id
FROM jsonb_to_recordset(%(members)s) AS w (slug text, "user" text)
JOIN org_roles r ON r.org_id = %(org_id)s AND r.slug = w.slug
JOIN users u ON u.external_id = w."user"
ON CONFLICT DO NOTHING;

-- name: drop_groups
-- The same of groups.
DELETE FROM org_role_groups g
USING org_roles r
WHERE r.org_id = %(org_id)s AND g.role_id = r.id AND NOT EXISTS (
  SELECT 1 FROM jsonb_to_recordset(%(groups)s) AS w (slug text, "group" text)
  WHERE w.slug = r.slug AND w."group" = g.group_name);

-- name: put_groups
-- And those that they name.
INSERT INTO org_role_groups (role_id, group_name)
SELECT r.id, w."group"
FROM jsonb_to_recordset(%(groups)s) AS w (slug text, "group" text)
JOIN org_roles r ON r.org_id = %(org_id)s AND r.slug = w.slug
ON CONFLICT DO NOTHING;

-- name: drop_users
-- Users whom no binding of any org names, and who never came.
DELETE FROM users u
WHERE u.seen_at IS NULL AND NOT EXISTS (SELECT 1 FROM org_role_memberships m WHERE m.user_id = u.id);

-- name: roles_of
-- The roles that somebody has in an org, by name or by a group.
SELECT r.slug
FROM org_roles r
WHERE r.org_id = %(org_id)s AND (
  EXISTS (
    SELECT 1 FROM org_role_memberships m JOIN users u ON u.id = m.user_id
    WHERE m.role_id = r.id AND u.external_id = %(user)s)
  OR EXISTS (SELECT 1 FROM org_role_groups g WHERE g.role_id = r.id AND g.group_name = ANY (%(groups)s::text[])));

-- name: has_roles
-- Whether an org has any role.
SELECT EXISTS (SELECT 1 FROM org_roles WHERE org_id = %(org_id)s) AS there;
