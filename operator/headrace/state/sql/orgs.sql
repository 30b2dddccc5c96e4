-- name: find_org
-- The org of a namespace, if its uid was seen before, with its settings.
SELECT id, slug, settings FROM orgs WHERE namespace_uid = %(uid)s;

-- name: free_slug
-- A namespace made anew under an old name is another org: the old one keeps its rows under another slug.
UPDATE orgs SET slug = slug || '~' || left(namespace_uid, 8)
WHERE slug = %(slug)s AND namespace_uid <> %(uid)s;

-- name: make_org
-- The org of a namespace, made with the first object in it; two operators at once make one.
INSERT INTO orgs (name, slug, namespace_uid) VALUES (%(slug)s, %(slug)s, %(uid)s)
ON CONFLICT (namespace_uid) DO NOTHING;

-- name: is_org_of
-- Whether an org is still that of a namespace.
SELECT EXISTS (SELECT 1 FROM orgs WHERE id = %(org_id)s AND slug = %(slug)s) AS there;

-- name: tenants_among
-- Of these namespaces, by uid, those that have an org.
SELECT namespace_uid AS uid FROM orgs WHERE namespace_uid = ANY (%(uids)s::text[]);

-- name: set_settings
-- What the Namespace says of its org.
UPDATE orgs SET settings = %(settings)s WHERE id = %(org_id)s AND settings <> %(settings)s;
