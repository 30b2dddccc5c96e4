trap 'kubectl delete rolebinding headrace-analysts -n headrace-system' EXIT
