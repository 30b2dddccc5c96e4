# The page's source, whose process does nothing by itself.
trap 'kubectl delete dag chain -n air' EXIT
kubectl apply -f - <<'END'
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata: {name: chain}
spec:
  deletionPolicy: Delete
  jobs:
  - name: blocks
    source: {kind: always_on, replay: true}
    image: docker.io/local/flights:demo
    command: [sleep, "600"]
    template: {spec: {terminationGracePeriodSeconds: 1}}
    updateStrategy: append
    uniqueKey: [block]
END
kubectl wait --for=condition=Serving dag/chain --timeout=60s
pod_of blocks
