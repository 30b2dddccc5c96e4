-- Pods of single attempts that speak to the gateway: for reports that a termination message has no room for, and for
-- manifests of inputs. The gateway believes a pod whose uid is here. It is that of the pod which the operator first saw
-- under the attempt's name: whoever deletes that pod and makes another of its name is somebody else. What a pod reported
-- counts once its container has ended well.
CREATE TABLE task_pods (
  task_id  uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
  attempt  int NOT NULL CHECK (attempt > 0),
  pod_uid  text NOT NULL CONSTRAINT task_pods_pod_uid_key UNIQUE,
  reported jsonb CHECK (jsonb_typeof(reported) = 'object'),
  PRIMARY KEY (task_id, attempt)
);
