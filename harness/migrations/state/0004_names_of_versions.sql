-- What a version calls by a name, of versions with thousands of datasets: a build keeps what serves under each name.
CREATE INDEX dag_version_datasets_name ON dag_version_datasets (dag_version_id, name);
