# The page's source, in a DAG of its own.
trap 'kubectl delete dag sales -n air; kubectl delete -n air role,rolebinding,secret headrace-webhook orders-webhook \
  --ignore-not-found' EXIT
kubectl apply -f - <<'END'
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata: {name: sales}
spec:
  deletionPolicy: Delete
  jobs:
  - name: orders
    source: {kind: webhook, secretName: orders-webhook, partition: {format: "%Y-%m-%d"}}
END
kubectl wait --for=condition=Serving dag/sales --timeout=60s
