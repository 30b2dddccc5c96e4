# A DAG of two versions, of which a task has failed; `sales.yaml` is then edited once more, and `broken.yaml` is no good.
trap 'kubectl delete dag sales -n air; kubectl delete rolebinding purger -n air; kubectl delete namespace team --wait=false' EXIT
kubectl create namespace team
kubectl create rolebinding purger --clusterrole=admin --serviceaccount=air:headrace-cli
sed 's/config: {limit: 10}/config: {limit: 5}/' "$PAGES/sales.yaml" | kubectl apply -f -
kubectl wait --for=condition=Serving dag/sales --timeout=60s
kubectl apply -f "$PAGES/sales.yaml"
kubectl wait --for=condition=UpToDate dag/sales --timeout=60s
headrace run sales/load --wait || [ $? = 1 ]
kubectl wait --for=condition=Degraded dag/sales --timeout=120s
kubectl wait --for=jsonpath='{.status.partitions}'=2 dset/sales.sales-rank --timeout=120s
kubectl wait --for=jsonpath='{.status.completed}'=3 hjob/sales.old --timeout=120s
kubectl wait --for=jsonpath='{.status.state}'=Idle hjob/sales.load hjob/sales.rank hjob/sales.old --timeout=120s
kubectl wait --for=jsonpath='{.status.state}'=Failing hjob/sales.clean --timeout=120s
sed -e 's/limit: 10/limit: 20/' -e 's/name: old/name: extra/' "$PAGES/sales.yaml" > sales.yaml
sed -e 's/job: clean}}]$/job: cleen}}]/' -e 's/{type: integer}/{type: [integer, 3]}/' sales.yaml > broken.yaml
mkdir pipelines && cp sales.yaml pipelines
