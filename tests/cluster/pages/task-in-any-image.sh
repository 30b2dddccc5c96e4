# A task that reads more partitions than its document has room for, and reports to the gateway.
trap 'kubectl delete dag tasks -n air' EXIT
kubectl apply -f - <<'END'
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata: {name: tasks}
spec:
  deletionPolicy: Delete
  jobs:
  - name: load
    source: {kind: manual, partitions: {range: {start: "2020-01-01", end: "2022-12-31", every: 1d, format: "%Y-%m-%d"}}}
  - name: clean
    image: docker.io/local/flights:demo
    command: [sleep, "600"]
    report: gateway
    template: {spec: {terminationGracePeriodSeconds: 1}}
    inputs: [{from: {job: load}, match: latest}]
END
kubectl wait --for=condition=Serving dag/tasks --timeout=60s
headrace run tasks/load
pod_of clean
