# A DAG that made three units; `hello.yaml` is an edit of it.
trap 'kubectl delete namespace air --wait=false' EXIT
kubectl delete namespace air --ignore-not-found
kubectl create namespace air
kubectl apply -n air -k deploy/tenant
cat > hello.yaml <<'END'
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata: {name: hello, namespace: air}
spec:
  jobs:
  - {name: key, source: {kind: manual, partitions: {values: [a, b, c]}}}
  - {name: clean, image: docker.io/local/flights:demo, command: [sh, -c, "true"], inputs: [{from: {job: key}}]}
END
kubectl apply -f hello.yaml
kubectl wait --for=condition=Serving dag/hello --timeout=60s
kubectl annotate dag hello headrace.dev/run='1 key'
kubectl wait --for=jsonpath='{.status.completed}'=3 hjob/hello.clean --timeout=120s
sed -i 's/"true"/"true; true"/' hello.yaml
