-- PLACEHOLDER: dropped at the merge.
ALTER TABLE dataset_names ADD COLUMN retained_versions int NOT NULL DEFAULT 10;
