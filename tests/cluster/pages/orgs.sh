# The namespace `team` had a DAG, was deleted, and is there again.
trap 'kubectl delete namespace team --wait=false; kubectl delete clusterrolebinding adopter' EXIT
hello='{"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "metadata": {"name": "hello", "namespace": "team"},
        "spec": {"jobs": [{"name": "key", "source": {"kind": "manual", "partitions": {"values": ["a"]}}}]}}'
for _ in before now; do
  kubectl delete namespace team --ignore-not-found
  kubectl create namespace team
  kubectl apply -n team -k deploy/tenant
  kubectl apply -f - <<< "$hello"
  kubectl wait --for=condition=Serving dag/hello -n team --timeout=60s
done
kubectl create serviceaccount headrace-cli -n team
kubectl create clusterrolebinding adopter --clusterrole=cluster-admin --serviceaccount=team:headrace-cli
