# A cluster without it.
trap 'kubectl delete namespace air --wait=false' EXIT
deploy/uninstall --yes
kubectl delete namespace air --ignore-not-found
kubectl create namespace air
IMAGE=docker.io/local/headrace:dev
