-- What a reader was answered that has more than a page: as it was then, until they have read the rest.
CREATE TABLE read_pins (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id          uuid NOT NULL REFERENCES orgs,
  user_name       text NOT NULL,
  name            text NOT NULL,
  dataset_uuid    uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
  dataset_version uuid NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT read_pins_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid) ON DELETE CASCADE
);
CREATE INDEX read_pins_user ON read_pins (org_id, user_name, created_at);
CREATE INDEX read_pins_dataset_version ON read_pins (dataset_version);
CREATE INDEX read_pins_dataset_uuid ON read_pins (dataset_uuid);

-- Its pages from the second on.
CREATE TABLE read_pages (
  pin        uuid NOT NULL REFERENCES read_pins ON DELETE CASCADE,
  page       int NOT NULL CONSTRAINT read_pages_page_check CHECK (page > 0),
  partitions jsonb NOT NULL CONSTRAINT read_pages_partitions_check CHECK (jsonb_typeof(partitions) = 'array'),
  PRIMARY KEY (pin, page)
);
