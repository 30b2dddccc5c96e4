-- name: adoptable_orgs
-- The orgs that were of a namespace of this name and are not of the present one: their namespaces are gone.
SELECT o.slug AS org, o.id, o.created_at AS since,
       (SELECT count(*) FROM dag_current_versions c WHERE c.org_id = o.id) AS dags,
       (SELECT count(*)
        FROM dag_current_versions c
        JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id
        JOIN partition_versions p ON p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
        WHERE c.org_id = o.id) AS partitions
FROM orgs o
WHERE o.name = %(namespace)s AND o.namespace_uid <> %(uid)s
ORDER BY o.created_at DESC, o.id
LIMIT 100;

-- name: find_left_org
-- An org by what it is called, or by its id.
SELECT id, slug, namespace_uid FROM orgs WHERE slug = %(given)s OR id::text = %(given)s;

-- name: present_of_orgs
-- The DAGs of these orgs that are taken to be there.
SELECT o.slug AS namespace, o.namespace_uid, p.org_id, p.name, p.object_uid
FROM dags p JOIN orgs o ON o.id = p.org_id
WHERE p.absent_since IS NULL AND p.org_id = ANY (%(org_ids)s)
ORDER BY p.org_id, p.name;

-- name: void_workers_of
-- The workers of these orgs get no more work, and their pods are deleted. They count as having claimed: that they ended
-- says nothing about their image.
UPDATE workers SET retired_at = coalesce(retired_at, now()), seen_at = coalesce(seen_at, now()), gone_at = now()
WHERE org_id = ANY (%(org_ids)s) AND gone_at IS NULL;

-- name: part_org
-- The namespace's org gives its place up.
UPDATE orgs SET slug = %(slug)s, namespace_uid = %(uid)s WHERE id = %(org_id)s;

-- name: move_people
-- Those who came to the namespace are of the org that it has.
UPDATE users SET org_id = %(org_id)s WHERE org_id = %(young)s;

-- name: give_org
-- And another takes it, if nobody else has got that meanwhile.
UPDATE orgs SET slug = %(namespace)s, name = %(namespace)s, namespace_uid = %(uid)s
WHERE id = %(org_id)s AND namespace_uid = %(was)s;
