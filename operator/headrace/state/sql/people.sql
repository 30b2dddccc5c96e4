-- name: find_person
-- Who has this name, and whether their coming was last noted more than a day ago, or never.
SELECT org_id, role, coalesce(seen_at < now() - interval '1 day', true) AS due, seen_at IS NOT NULL AS came
FROM users WHERE external_id = %(user)s;

-- name: record_person
-- Somebody is there. They are of the org where they first came, whatever roles name them, and their role is that there.
INSERT INTO users AS u (org_id, external_id, email, role, seen_at)
VALUES (%(org_id)s, %(user)s::text, CASE WHEN %(user)s::text ~ '^[^@\s]+@[^@\s]+\.[^@\s]+$' THEN %(user)s::text END,
        %(role)s, now())
ON CONFLICT (external_id) DO UPDATE
SET seen_at = excluded.seen_at, org_id = CASE WHEN u.seen_at IS NULL THEN excluded.org_id ELSE u.org_id END,
    role = CASE WHEN u.seen_at IS NULL OR u.org_id = excluded.org_id THEN excluded.role ELSE u.role END;

-- name: members
-- Who is of an org, or has a role in it by name. What somebody of another org is there, and when they came, is not told.
SELECT u.external_id AS "user", u.email, CASE WHEN o.own THEN u.role END AS role, r.roles,
       CASE WHEN o.own THEN u.created_at END AS since, CASE WHEN o.own THEN u.seen_at END AS seen
FROM (
  SELECT id FROM users WHERE org_id = %(org_id)s
  UNION
  SELECT m.user_id FROM org_roles r JOIN org_role_memberships m ON m.role_id = r.id WHERE r.org_id = %(org_id)s
) AS w
JOIN users u ON u.id = w.id
CROSS JOIN LATERAL (SELECT u.org_id = %(org_id)s AS own) AS o
CROSS JOIN LATERAL (
  SELECT coalesce(jsonb_agg(jsonb_build_object('slug', r.slug, 'since', m.created_at) ORDER BY r.slug), '[]') AS roles
  FROM org_role_memberships m JOIN org_roles r ON r.id = m.role_id AND r.org_id = %(org_id)s
  WHERE m.user_id = u.id
) AS r
ORDER BY u.external_id
LIMIT %(most)s;

-- name: roles
-- The roles of an org, with their groups.
SELECT r.slug, r.name, r.created_at AS since,
       ARRAY(SELECT g.group_name FROM org_role_groups g WHERE g.role_id = r.id ORDER BY 1) AS groups
FROM org_roles r
WHERE r.org_id = %(org_id)s
ORDER BY r.slug;

-- name: old_people
-- Whether there is anybody to forget.
SELECT EXISTS (
  SELECT 1 FROM users u
  WHERE u.seen_at < now() - interval '90 days'
    AND NOT EXISTS (SELECT 1 FROM org_role_memberships m WHERE m.user_id = u.id)) AS there;

-- name: delete_old_people
-- Who has not come for so long, and has no role.
DELETE FROM users u
WHERE u.seen_at < now() - interval '90 days'
  AND NOT EXISTS (SELECT 1 FROM org_role_memberships m WHERE m.user_id = u.id);
