kubectl create rolebinding purger --clusterrole=admin --serviceaccount=air:headrace-cli
trap 'kubectl delete rolebinding purger -n air' EXIT
