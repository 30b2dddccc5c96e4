trap 'kubectl delete namespace argocd --wait=false' EXIT
kubectl create namespace argocd
kubectl create configmap argocd-cm -n argocd
